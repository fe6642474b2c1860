"""Lay the pictures of a cohort on one page."""

from _job import run

from drasclr_core.base.files import atomic_path
from drasclr_core.cohort.flow import read_exclusions
from drasclr_core.qc.page import render_qc
from drasclr_core.qc.rows import read_rows
from drasclr_core.report.versions import page_date


def main(job):
    rows = [row for folder in job.input.pictures for row in read_rows(folder, job.output.page)]
    title = f"Quality control: {job.wildcards.cohort}, atlas {job.wildcards.atlas}"
    exclusions = read_exclusions(job.input.exclusions)
    page = render_qc(title, rows, exclusions, date=page_date(), **job.params.settings)
    with atomic_path(job.output.page) as partial:
        partial.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
