"""Predict survival from a run's features, clinical columns and confounders (Table 3).

Reads:   results/{cohort}/participants.tsv, folds.tsv, a run's features
Writes:  results/{cohort}/{atlas}/runs/{run}/eval/survival-{variant}.json  out-of-fold risks, concordance, risk groups,
                                                                         calibration
Config:  seed

One job per variant: each takes ten times as long as Python's start, and a run needs few of them.
"""


rule evaluate_survival:
    input:
        participants="results/{cohort}/participants.tsv",
        folds="results/{cohort}/folds.tsv",
        features="results/{cohort}/{atlas}/runs/{run}/features",
    output:
        evaluation="results/{cohort}/{atlas}/runs/{run}/eval/survival-{variant}.json",
    log:
        "logs/{cohort}/{atlas}/evaluate_survival/{run}/{variant}.log",
    wildcard_constraints:
        variant="[a-z_]+",
    group:
        in_group("evaluation")
    conda:
        "../envs/core.yaml"
    params:
        code=code_of(
            "evaluate_survival",
            "evaluate/survival",
            "evaluate/survival_design",
            "evaluate/survival_groups",
            "evaluate/survival_model",
            "evaluate/concordance",
            "evaluate/bootstrap",
            "config/tasks",
            "evaluate/probes",
            "evaluate/metrics",
            "cohort/persons",
        ),
        seed=config["seed"],
    script:
        "../workflow_scripts/evaluate_survival.py"
