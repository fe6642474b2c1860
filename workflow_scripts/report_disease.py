"""Set the disease probe as a page of Markdown."""

from _job import run

from drasclr_core.io import atomic_path, read_json
from drasclr_core.tables_disease import disease_markdown
from drasclr_core.task_differences import compare_task


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
