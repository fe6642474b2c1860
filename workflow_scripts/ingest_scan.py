"""Read one scan and resample it to an isotropic volume."""

from _job import run

from drasclr_core.io import run_subject_stage
from drasclr_core.subject_stages import ingest


def main(job):
    def work(folder):
        return ingest(job.params.scan, folder, spacing_mm=job.params.spacing_mm, axes=job.params.axes)

    run_subject_stage(job.output.volume, "ingest", job.wildcards.id, [], work, job.params.exclude_reason)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
