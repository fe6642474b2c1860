"""Gather the phantoms' rows and boxes into the tables that a real cohort would bring."""

from _job import run

from drasclr_core.base.files import read_record
from drasclr_core.cohort.table import write_boxes, write_participants


def main(job):
    metrics = [read_record(folder).metrics for folder in job.input.scans]
    write_participants([each["row"] for each in metrics], job.output.table)
    write_boxes([box for each in metrics for box in each["boxes"]], job.output.boxes)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
