"""Cut one subject's patches at the landmarks."""

from _job import run

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.stages import cut
from drasclr_core.base.files import read_json, run_subject_stage


def main(job):
    grid = LandmarkGrid.from_json(read_json(job.input.landmarks))  # inside the stage a bad one would exclude everybody

    def work(folder):
        return cut(job.input.volume, job.input.transform, grid, folder, **job.params.settings)

    upstream = [job.input.volume, job.input.transform]
    run_subject_stage(job.output.patches, "patches", job.wildcards.id, upstream, work)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
