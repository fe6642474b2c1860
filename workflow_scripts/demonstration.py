"""Print what was found in short, and where it lies."""

import csv
from pathlib import Path

from _job import run

from drasclr_core.report.demonstration import demonstration_text


def main(job):
    places = {
        "The picture": job.input.picture,
        "The tables": f"{job.input.truth}, {Path(job.input.labels).with_suffix('.md')}",
        "All tables and figures on one page": "snakemake --cores 2 report",
    }
    print(demonstration_text(_rows(job.input.truth), _rows(job.input.labels), places), flush=True)


def _rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
