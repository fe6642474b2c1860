"""Find the lungs of one subject."""

from _job import run

from drasclr_core.io import run_subject_stage
from drasclr_core.subject_stages import segment


def main(job):
    def work(folder):
        return segment(job.input.volume, folder, method=job.params.method, weights=job.params.weights)

    run_subject_stage(job.output.lungs, "segment", job.wildcards.id, [job.input.volume], work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
