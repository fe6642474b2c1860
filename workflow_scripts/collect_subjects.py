"""Say who is included and who is not, and why."""

from _job import run

from drasclr_core.cohort.flow import collect_subjects


def main(job):
    collect_subjects(job.input.patches, job.output.included, job.output.exclusions)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
