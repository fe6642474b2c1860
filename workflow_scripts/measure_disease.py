"""Measure the true disease of a phantom's patches."""

from _job import run

from drasclr_core.base.files import run_subject_stage
from drasclr_core.evaluate.truth import measure_disease


def main(job):
    upstream = [job.input.phantom, job.input.volume, job.input.patches]

    def work(folder):
        return measure_disease(*upstream, folder)

    run_subject_stage(job.output.disease, "disease", job.wildcards.id, upstream, work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
