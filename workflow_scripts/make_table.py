"""Set a table from its evaluations, beside the paper's values."""

from _job import EXPERIMENTS, run

from drasclr_core.base.files import atomic_path, read_json
from drasclr_core.config.table_specs import load_experiment, without_paper
from drasclr_core.report.tables import build_table, provenance_notes, table_csv, table_markdown


def main(job):
    experiment = load_experiment(EXPERIMENTS / f"{job.wildcards.table}.yaml")
    if job.params.phantom:
        experiment = without_paper(experiment)
    evaluations = [read_json(path) for path in job.input.evaluations]
    results = dict(zip(map(tuple, job.params.results), evaluations, strict=True))
    rows = build_table(experiment, results)
    markdown = table_markdown(experiment, rows, provenance_notes(results, **job.params.settings))
    for path, text in ((job.output.csv, table_csv(rows)), (job.output.markdown, markdown)):
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
