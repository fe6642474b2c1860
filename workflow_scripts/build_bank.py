"""Gather the included subjects' patches into the landmark-major bank."""

from pathlib import Path

from _job import run

from drasclr_core.atlas.bank import build_bank
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.files import read_json
from drasclr_core.cohort.flow import read_included


def main(job):
    ids = read_included(job.input.included)
    folder = {Path(path).name: path for path in job.input.patches}
    grid = LandmarkGrid.from_json(read_json(job.input.landmarks))
    folders = [folder[id_] for id_ in ids]
    persons = vars(job.params).get("persons")
    memory_gb = float(job.resources.memory_gb)
    build_bank(folders, ids, job.output.bank, grid=grid, persons=persons, memory_gb=memory_gb)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
