"""Stop the workflow where too many participants are excluded."""

from _job import run

from drasclr_core.base.files import write_json
from drasclr_core.cohort.flow import check_exclusions


def main(job):
    fraction = float(job.resources.max_excluded_fraction)
    flow = check_exclusions(job.input.included, job.input.exclusions, fraction)
    write_json(job.output.flow, flow)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
