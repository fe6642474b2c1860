"""Read the true disease of patches out of the features of several trainings, and out of what was not learnt."""

from pathlib import Path

from _job import run

from drasclr_core.bank import open_bank
from drasclr_core.collapse import embedding_warnings
from drasclr_core.disease import read_cohort
from drasclr_core.disease_probe import probe_disease
from drasclr_core.disease_rows import Training, bank_histograms, read_landmark_features
from drasclr_core.folds import read_folds
from drasclr_core.io import RECORD, read_json, write_json


def main(job):
    result = probe_disease(
        [_training(*each) for each in zip(job.params.trainings, job.input.features, strict=True)],
        bank_histograms(open_bank(job.input.bank)),
        read_cohort(job.input.disease),
        read_folds(job.input.folds),
        **job.params.settings,
    )
    write_json(job.output.probe, result)


def _training(told, folder):
    warnings = embedding_warnings(read_json(Path(folder) / RECORD))
    return Training(**told, content=read_landmark_features(folder), warnings=warnings)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
