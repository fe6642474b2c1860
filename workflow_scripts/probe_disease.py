"""Read the true disease of patches out of the features of several trainings, and out of what was not learnt."""

from _job import run

from drasclr_core.atlas.bank import open_bank
from drasclr_core.base.files import write_json
from drasclr_core.cohort.folds import read_folds
from drasclr_core.evaluate.disease_probe import probe_disease
from drasclr_core.evaluate.disease_rows import bank_histograms, read_training
from drasclr_core.evaluate.truth import read_cohort


def main(job):
    folders = zip(job.params.trainings, job.input.features, strict=True)
    result = probe_disease(
        [training for told, folder in folders for training in read_training(folder, **told)],
        bank_histograms(open_bank(job.input.bank)),
        read_cohort(job.input.disease),
        read_folds(job.input.folds),
        **job.params.settings,
    )
    write_json(job.output.probe, result)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
