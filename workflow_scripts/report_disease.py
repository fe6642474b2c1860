"""Set the disease probe as a page of Markdown."""

from _job import run

from drasclr_core.base.files import atomic_path, read_json
from drasclr_core.evaluate.task_differences import compare_task
from drasclr_core.report.tables_disease import disease_markdown


def main(job):
    settings = job.params.settings
    pairs = zip(map(read_json, job.input.evaluations), map(read_json, job.input.reference), strict=True)
    tasks = [compare_task(evaluation, reference, settings["seed"]) for evaluation, reference in pairs]
    probes = dict(zip(settings["cohorts"], map(read_json, job.input.probes), strict=True))
    page = disease_markdown(probes, tasks, primary=settings["primary"], hashes=settings["cohorts"])
    with atomic_path(job.output.markdown) as partial:
        partial.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
