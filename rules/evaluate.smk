"""Read labels out of frozen features, fold by fold, and set the tables.

Reads:   results/{cohort}/participants.tsv, folds.tsv, a run's features
Writes:  results/{cohort}/{atlas}/runs/{run}/eval/{task}.json  per-fold predictions and metrics, of every task
         results/{table}.csv, results/{table}.md               ours and, of people, the paper's values side by side
Config:  seed, evaluation, roles; experiments/{table}.yaml

All tasks of a run are one job: to start Python takes as long as to read a label out of the features of 40 subjects.
"""


rule evaluate_run:
    input:
        participants="results/{cohort}/participants.tsv",
        folds="results/{cohort}/folds.tsv",
        features="results/{cohort}/{atlas}/runs/{run}/features",
    output:
        evaluations=expand(
            "results/{cohort}/{atlas}/runs/{run}/eval/{task}.json",
            task=TASKS,
            allow_missing=True,
        ),
    log:
        "logs/{cohort}/{atlas}/evaluate_run/{run}.log",
    group:
        in_group("evaluation")
    conda:
        "../envs/core.yaml"
    params:
        code=code_of(
            "evaluate_run", "evaluate/probes", "evaluate/readout", "evaluate/metrics", "cohort/persons", "config/tasks"
        ),
        readout=config["evaluation"]["readout"],
        seed=config["seed"],
    script:
        "../workflow_scripts/evaluate_run.py"


rule make_table:
    input:
        evaluations=table_evaluations,
    output:
        csv=report("results/{table}.csv", category="Tables", labels={"table": "{table}"}),
        markdown="results/{table}.md",
    log:
        "logs/make_table/{table}.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of(
            "make_table",
            "report/tables",
            "report/tables_figures",
            "evaluate/pooled",
            "evaluate/bootstrap",
            "config/table_specs",
            "config/tasks",
            also=["experiments/{table}.yaml"],
        ),
        settings=table_settings,
        phantom=table_is_phantom,
        results=table_results,
    script:
        "../workflow_scripts/make_table.py"
