"""Read the true disease of a phantom's patches out of their features, and compare the trained runs with what learns not.

Reads:   results/{cohort}/phantom/{id}, ingest/{id}, {atlas}/patches/{id}, bank.zarr; folds.tsv; the runs' features
Writes:  results/{cohort}/{atlas}/disease/{id}/        disease.json: voxels of lung and disease per patch; record.json
         results/{cohort}/{atlas}/disease_probe.json   R2 of every training, of location and histograms, and the paired
                                                       differences, with intervals
         results/disease_probe.md                      the same as a page, of the cohort in the role copd and of phantoms
                                                       that no training saw; and the subjects' labels
         results/known_truth.csv                       R2 by run, disease, seed and features read
Config:  seed, roles, runs, evaluation.readout
"""


rule measure_disease:
    input:
        phantom=truth_folder,
        volume="results/{cohort}/ingest/{id}",
        patches="results/{cohort}/{atlas}/patches/{id}",
    output:
        disease=directory("results/{cohort}/{atlas}/disease/{id}"),
    log:
        "logs/{cohort}/{atlas}/measure_disease/{id}.log",
    retries: 0
    group:
        in_group("subject")
    conda:
        "../envs/core.yaml"
    params:
        code=code_of("measure_disease", "evaluate/truth"),
    script:
        "../workflow_scripts/measure_disease.py"


rule probe_disease:
    input:
        disease=every_id("results/{cohort}/{atlas}/disease/{id}"),
        features=probed_features,
        bank="results/{cohort}/{atlas}/bank.zarr",
        folds="results/{cohort}/folds.tsv",
    output:
        probe="results/{cohort}/{atlas}/disease_probe.json",
    log:
        "logs/{cohort}/{atlas}/probe_disease.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of(
            "probe_disease",
            "evaluate/disease_probe",
            "evaluate/disease_rows",
            "evaluate/truth",
            "evaluate/bootstrap",
            "evaluate/histograms",
            "evaluate/readout",
        ),
        trainings=probed_trainings,
        settings={
            "reference": REFERENCE_RUN,
            "readout": config["evaluation"]["readout"],
            "seed": config["seed"],
        },
    script:
        "../workflow_scripts/probe_disease.py"


rule report_disease:
    input:
        probes=disease_probes,
        evaluations=primary_evaluations,
        reference=reference_evaluations,
    output:
        markdown="results/disease_probe.md",
    log:
        "logs/report_disease.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of(
            "report_disease",
            "report/tables_disease",
            "report/tables",
            "report/tables_figures",
            "evaluate/task_differences",
            "evaluate/pooled",
            "evaluate/bootstrap",
        ),
        settings=disease_settings,
    script:
        "../workflow_scripts/report_disease.py"


rule make_known_truth:
    input:
        probes=disease_probes,
    output:
        csv="results/known_truth.csv",
    log:
        "logs/make_known_truth.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of("make_known_truth", "report/tables_known_truth", "report/tables"),
    script:
        "../workflow_scripts/make_known_truth.py"
