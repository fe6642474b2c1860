"""Check every cell of the participants table."""

from _job import run

from drasclr_core.cohort import validate_participants
from drasclr_core.io import atomic_path


def main(job):
    table = validate_participants(job.input.table).convert_dtypes()  # whole numbers are written as such
    with atomic_path(job.output.table) as path:
        table.to_csv(path, sep="\t", index=False)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
