"""Slide linear detectors over the lungs of phantoms, and say how right they are."""

from itertools import islice
from pathlib import Path

from _job import run

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.files import read_json, write_json
from drasclr_core.cohort.flow import read_included
from drasclr_core.cohort.folds import read_folds
from drasclr_core.detect.masks_linear import judge_linear_masks
from drasclr_core.detect.patches import read_box_patches
from drasclr_core.detect.windows import values_of_run
from drasclr_core.model.folder import load_model_to


def main(job):
    sliding, included = dict(job.params.sliding), set(read_included(job.input.included))
    wanted, device, features = (sliding.pop(name) for name in ("subjects", "device", "features"))
    model = (
        load_model_to(Path(job.input.model).parent, device, threads=1, features=features) if job.input.model else None
    )
    stages = zip(job.input.phantom, job.input.ingest, job.input.segment, job.input.register, strict=True)
    subjects = (
        (Subject(Path(phantom).name, *map(Path, folders)), Path(phantom) / "truth.nii.gz")
        for phantom, *folders in stages
        if Path(phantom).name in included
    )
    values = values_of_run(model, **job.params.run)
    patches, folds = read_box_patches(job.input.patches), read_folds(job.input.folds)
    grid = LandmarkGrid.from_json(read_json(job.input.landmarks))
    found = judge_linear_masks(values, patches, islice(subjects, wanted), folds, grid, **sliding)
    told = {"run": job.wildcards.run, "features": features if model else None}
    write_json(job.output.figures, {**told, **sliding, **found})


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
