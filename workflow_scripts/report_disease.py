"""Set the disease probe as a page of Markdown."""

from _job import run

from drasclr_core.io import atomic_path, read_json
from drasclr_core.tables_disease import disease_markdown


def main(job):
    with atomic_path(job.output.markdown) as partial:
        partial.write_text(disease_markdown(read_json(job.input.probe), **job.params.settings), encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
