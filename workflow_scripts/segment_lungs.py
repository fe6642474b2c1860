"""Find the lungs of one subject."""

from _job import run

from drasclr_core.images import check_image
from drasclr_core.io import run_subject_stage
from drasclr_core.lung_weights import check_weights
from drasclr_core.subject_stages import segment


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
