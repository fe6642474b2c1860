"""Read labels out of frozen features, fold by fold, and set the tables.

Reads:   results/{cohort}/participants.tsv, folds.tsv, a run's features
Writes:  results/{cohort}/{atlas}/runs/{run}/eval/{task}.json  per-fold predictions and metrics
         results/{table}.csv, results/{table}.md               ours and the paper's values side by side
Config:  seed, evaluation, roles; experiments/{table}.yaml
"""


rule evaluate_task:
    input:
        participants="results/{cohort}/participants.tsv",
        folds="results/{cohort}/folds.tsv",
        features="results/{cohort}/{atlas}/runs/{run}/features",
        code=core("probes", "readout", "metrics", "persons", "tasks"),
    output:
        evaluation="results/{cohort}/{atlas}/runs/{run}/eval/{task}.json",
    log:
        "logs/{cohort}/{atlas}/evaluate_task/{run}/{task}.log",
    group:
        in_group("evaluation")
    conda:
        "../envs/core.yaml"
    params:
        readout=config["evaluation"]["readout"],
        seed=config["seed"],
    script:
        "../workflow_scripts/evaluate_task.py"


rule make_table:
    input:
        evaluations=table_evaluations,
        experiment=repo("experiments/{table}.yaml"),
        code=core("tables", "experiments", "tasks"),
    output:
        csv=report(
            "results/{table}.csv", category="Tables", labels={"table": "{table}"}
        ),
        markdown="results/{table}.md",
    log:
        "logs/make_table/{table}.log",
    conda:
        "../envs/core.yaml"
    params:
        settings=table_settings,
    script:
        "../workflow_scripts/make_table.py"
