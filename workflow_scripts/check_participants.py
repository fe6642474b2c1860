"""Check every cell of the participants table."""

from _job import run

from drasclr_core.base.files import atomic_path
from drasclr_core.base.tables import whole
from drasclr_core.cohort.table import validate_participants


def main(job):
    given = whole(job.input.table) if job.params.source["phantom"] else job.input.table
    table = validate_participants(given).convert_dtypes()  # whole numbers are written as such
    with atomic_path(job.output.table) as path:
        path.write_text(table.to_csv(sep="\t", index=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
