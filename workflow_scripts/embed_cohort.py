"""Embed the subjects with a method that needs no trained encoder, fold by fold if it learns."""

from pathlib import Path

from _job import run

from drasclr_core.atlas.subject import Subject
from drasclr_core.base.files import RECORD, atomic_directory, own_sums, write_json
from drasclr_core.base.version import __version__
from drasclr_core.cohort.flow import read_included
from drasclr_core.cohort.folds import read_folds
from drasclr_core.methods import embed_cohort


def main(job):
    segment = {Path(path).name: Path(path) for path in job.input.segment}
    patches = {Path(path).name: Path(path) for path in job.input.patches}
    subjects = [
        Subject(id_, segment=segment[id_], patches_folder=patches[id_]) for id_ in read_included(job.input.included)
    ]
    features = embed_cohort(
        **job.params.run, subjects=subjects, folds=read_folds(job.input.folds), seed=job.params.seed
    )
    with atomic_directory(job.output.features) as folder:
        features.to_parquet(folder / "features.parquet", index=False)
        told = {"run": job.params.run, "seed": job.params.seed, "drasclr": __version__}
        write_json(folder / RECORD, {**told, "sha256": own_sums(folder)})


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
