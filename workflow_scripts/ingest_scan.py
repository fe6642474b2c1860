"""Read one scan and resample it to an isotropic volume."""

from _job import run

from drasclr_core.atlas.stages import ingest
from drasclr_core.base.files import run_subject_stage
from drasclr_core.scan.images import check_image


def main(job):
    listed = job.params.listed

    def work(folder):
        if getattr(job.input, "phantom", None):
            check_image(listed["scan"])  # ours to make again, where a patient's would be excluded
        return ingest(listed["scan"], folder, **job.params.settings)

    run_subject_stage(job.output.volume, "ingest", job.wildcards.id, [], work, listed["exclude_reason"])


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
