"""Bring the participants together: simulate a phantom cohort, check the table, deal the folds.

Reads:   the table named by cohorts.{cohort}.participants, unless the cohort is a phantom
Writes:  results/{cohort}/phantom/{id}/             ct.nii.gz, lungs.nii.gz, truth.nii.gz, record.json
         results/{cohort}/phantom/participants.tsv  its table, and boxes.tsv
         results/{cohort}/participants.tsv          the checked table
         results/{cohort}/folds.tsv
Config:  seed, cohorts, evaluation.folds

The table is checked first and yet is no input of the scans, nor of the folds, which follow from the ids: another label
must not make the methods embed again, which would make anew all scans and patches that were temporary.
"""


rule simulate_scan:
    output:
        scan=stored("phantom", "results/{cohort}/phantom/{id}"),
    log:
        "logs/{cohort}/simulate_scan/{id}.log",
    priority: of_subject
    retries: 0
    group:
        upstream_group
    conda:
        "../envs/core.yaml"
    params:
        settings=phantom_settings,
        version=STAGE_VERSIONS["simulate"],
    script:
        "../workflow_scripts/simulate_scan.py"


rule write_phantom_table:
    input:
        scans=every_id("results/{cohort}/phantom/{id}"),
    output:
        table="results/{cohort}/phantom/participants.tsv",
        boxes="results/{cohort}/phantom/boxes.tsv",
    log:
        "logs/{cohort}/write_phantom_table.log",
    priority: 1
    conda:
        "../envs/core.yaml"
    params:
        version=COHORT_VERSIONS["phantom"],
    script:
        "../workflow_scripts/write_phantom_table.py"


rule check_participants:
    input:
        table=participants_table,
    output:
        table="results/{cohort}/participants.tsv",
    log:
        "logs/{cohort}/check_participants.log",
    priority: 1
    conda:
        "../envs/core.yaml"
    params:
        source=lambda wildcards: {"phantom": is_phantom(wildcards.cohort)},
        version=COHORT_VERSIONS["participants"],
    script:
        "../workflow_scripts/check_participants.py"


rule assign_folds:
    output:
        folds="results/{cohort}/folds.tsv",
    log:
        "logs/{cohort}/assign_folds.log",
    conda:
        "../envs/core.yaml"
    params:
        ids=cohort_ids,
        persons=persons,
        settings={
            "folds": config["evaluation"]["folds"],
            "seed": config["seed"],
        },
        version={"folds": COHORT_VERSIONS["folds"]},  # `persons` may be None
    script:
        "../workflow_scripts/assign_folds.py"
