"""Read the true disease of patches out of the features of several runs."""

from _job import run

from drasclr_core.disease import read_cohort
from drasclr_core.disease_probe import probe_disease, read_landmark_features
from drasclr_core.folds import read_folds
from drasclr_core.io import write_json


def main(job):
    features = map(read_landmark_features, job.input.features)
    result = probe_disease(
        dict(zip(job.params.runs, features, strict=True)),
        read_cohort(job.input.disease),
        read_folds(job.input.folds),
        **job.params.settings,
    )
    write_json(job.output.probe, result)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
