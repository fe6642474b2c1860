"""Set the disease probe as a page of Markdown."""

from _job import run

from drasclr_core.io import atomic_path, read_json
from drasclr_core.tables_disease import disease_markdown
from drasclr_core.task_differences import compare_task


def main(job):
    settings = dict(job.params.settings)
    seed = settings.pop("seed")
    pairs = zip(map(read_json, job.input.evaluations), map(read_json, job.input.reference), strict=True)
    tasks = [compare_task(evaluation, reference, seed) for evaluation, reference in pairs]
    page = disease_markdown(read_json(job.input.probe), tasks, **settings)
    with atomic_path(job.output.markdown) as partial:
        partial.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
