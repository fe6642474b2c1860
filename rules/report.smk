"""Draw the figures and the curves of each training, and put all that was found on one page.

A figure is of the first training of its run.

Reads:   results/{table}.md; a run's model/metrics.csv, features, eval/, as the figure's kind needs
         results/{cohort}/{atlas}/cohort_flow.json, exclusions.tsv; results/atlases/{atlas}/landmarks.json
Writes:  results/{figure}.png, {figure}.csv (what it shows), {figure}.json (title, notes)
         results/{cohort}/{atlas}/runs/{run}/training.png, training.csv
         results/report.html                                   needs no other file, no network and no script
Config:  seed, evaluation, roles; experiments/{figure}.yaml; the page shows the whole
"""


rule make_figure:
    input:
        unpack(figure_inputs),
    output:
        png=report("results/{figure}.png", category="Figures", labels={"figure": "{figure}"}),
        csv="results/{figure}.csv",
        words="results/{figure}.json",
    log:
        "logs/make_figure/{figure}.log",
    conda:
        "../envs/core.yaml"
    params:
        code=figure_code,
        settings=figure_settings,
    script:
        "../workflow_scripts/make_figure.py"


rule draw_training:
    input:
        model="results/{cohort}/{atlas}/runs/{run}/model/SHA256SUMS",
    output:
        png=report(
            "results/{cohort}/{atlas}/runs/{run}/training.png",
            category="Training",
            labels={"run": "{run}", "cohort": "{cohort}"},
        ),
        csv="results/{cohort}/{atlas}/runs/{run}/training.csv",
    log:
        "logs/{cohort}/{atlas}/draw_training/{run}.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of("draw_training", "figures/drawing", "figures/training"),
    script:
        "../workflow_scripts/draw_training.py"


rule make_report:
    input:
        tables=reported_tables,
        flows=aligned("cohort_flow.json"),
        exclusions=aligned("exclusions.tsv"),
        landmarks=[landmarks_of(flow) for flow in aligned("cohort_flow.json")],
        figures=possible_figures,
        words=reported_words,
        trainings=of_runs("training.png", trained_runs()),
        curves=of_runs("training.csv", trained_runs()),
    output:
        report="results/report.html",
    log:
        "logs/make_report.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of(
            "make_report",
            "report/content",
            "report/flow",
            "report/markdown",
            "report/page",
            "report/versions",
            "report/tables",
            "figures/drawing",
            "figures/training",
            "train/collapse",
            "cohort/flow",
            also=[
                "drasclr_core/report/templates/report.html.j2",
                "drasclr_core/report/templates/style.css",
            ],
        ),
        config=dict(config),
    script:
        "../workflow_scripts/make_report.py"
