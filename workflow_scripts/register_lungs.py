"""Register one subject's lungs to the atlas."""

from _job import run

from drasclr_core.atlas.stages import register
from drasclr_core.base.files import run_subject_stage
from drasclr_core.scan.images import read_image


def main(job):
    def work(folder):
        atlas = read_image(job.input.atlas)
        return register(job.input.lungs, atlas, folder, **job.params.settings)

    run_subject_stage(job.output.transform, "register", job.wildcards.id, [job.input.lungs], work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
