"""Set a table of significance tests from the evaluations of another table."""

from _job import EXPERIMENTS, run

from drasclr_core.base.files import atomic_path, read_json
from drasclr_core.config.table_specs import comparison_without_paper, load_comparison, load_experiment
from drasclr_core.report.tables import table_csv
from drasclr_core.report.tables_significance import build_significance, significance_markdown, significance_notes


def main(job):
    comparison = load_comparison(EXPERIMENTS / f"{job.wildcards.comparison}.yaml")
    experiment = load_experiment(EXPERIMENTS / f"{comparison.table}.yaml")
    if job.params.phantom:
        comparison = comparison_without_paper(comparison, experiment)
    evaluations = [read_json(path) for path in job.input.evaluations]
    results = dict(zip(map(tuple, job.params.results), evaluations, strict=True))
    rows = build_significance(comparison, experiment, results)
    notes = significance_notes(rows, results, **job.params.settings)
    markdown = significance_markdown(comparison, experiment, rows, notes)
    for path, text in ((job.output.csv, table_csv(rows)), (job.output.markdown, markdown)):
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
