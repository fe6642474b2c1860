"""From CT scans to the tables of the DrasCLR paper.

Config:  config.yaml, or the complete file given by --configfile; --config changes values of either
"""

from pathlib import Path


include: "rules/snakemake_internals.smk"


if no_file_is_given():

    configfile: Path(workflow.basedir) / "config.yaml"


include: "rules/common.smk"
include: "rules/common_participants.smk"
include: "rules/common_start.smk"
include: "rules/common_cluster.smk"
include: "rules/common_runs.smk"
include: "rules/common_memory.smk"
include: "rules/common_training.smk"
include: "rules/common_tables.smk"
include: "rules/common_disease.smk"
include: "rules/common_detection.smk"
include: "rules/common_figures.smk"
include: "rules/common_qc.smk"


name_user()
plan_quickly()
if is_main():
    keep_temporary_files_together()
    speak_briefly()
if is_remote():
    live_with_allocation()


wildcard_constraints:
    cohort="|".join(config["cohorts"]),
    atlas="|".join(config["atlases"]),
    run="|".join(every_training(config)),  # a training's name may have a slash
    id="[A-Za-z0-9][A-Za-z0-9_-]*",
    table="table[0-9]+",
    figure="figure[a-z0-9_]+",
    comparison="tableA[0-9]+|table[0-9]+_test",


onstart:
    keep_others_out()
    remove_what_was_left()
    schedule_when_jobs_end()
    remove_outdated_outputs()


localrules:
    write_phantom_table,
    check_participants,
    assign_folds,
    make_atlas,
    lay_landmarks,
    collect_subjects,
    check_exclusions,
    demonstration,


rule all:
    input:
        possible_tables,
        possible_comparisons,
        of_runs("features", config["runs"]),


include: "rules/cohort.smk"
include: "rules/preprocess.smk"
include: "rules/atlas.smk"
include: "rules/align.smk"
include: "rules/qc.smk"
include: "rules/pretrain.smk"
include: "rules/embed.smk"
include: "rules/evaluate.smk"
include: "rules/survival.smk"
include: "rules/significance.smk"
include: "rules/disease.smk"
include: "rules/detection.smk"
include: "rules/masks.smk"
include: "rules/report.smk"
include: "rules/demonstration.smk"


rule preprocess:
    input:
        checked_tables(),
        aligned("bank.zarr"),


rule qc:
    input:
        checked_tables(),
        aligned("qc.html"),


rule pretrain:
    input:
        checked_tables(),
        of_runs("model/SHA256SUMS", PRETRAINED_RUNS),


rule embed:
    input:
        checked_tables(),
        of_runs("features", config["runs"]),


rule tables:
    input:
        possible_tables,
        possible_comparisons,


rule figures:
    input:
        possible_figures,


rule report:
    input:
        "results/report.html",
