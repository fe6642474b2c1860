"""Find the lungs of one subject."""

from _job import run

from drasclr_core.atlas.stages import segment
from drasclr_core.base.files import run_subject_stage
from drasclr_core.scan.images import check_image
from drasclr_core.scan.lung_weights import check_weights


def main(job):
    settings = job.params.settings
    # Here: inside the stage, bad weights would exclude everybody.
    weights = check_weights(settings["weights"]) if settings["method"] == "lungmask" else None

    def work(folder):
        if getattr(job.input, "phantom", None):
            check_image(job.params.scan)
        return segment(job.input.volume, job.params.scan, folder, weights=weights)

    run_subject_stage(job.output.lungs, "segment", job.wildcards.id, [job.input.volume], work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
