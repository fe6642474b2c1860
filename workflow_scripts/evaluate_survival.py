"""Predict survival from a run's features, clinical columns and confounders, fold by fold."""

from _job import run

from drasclr_core.base.files import write_json
from drasclr_core.base.tables import whole
from drasclr_core.cohort.folds import read_folds
from drasclr_core.cohort.table import validate_participants
from drasclr_core.evaluate.probes import provenance_of, read_features
from drasclr_core.evaluate.survival import evaluate_survival


def main(job):
    evaluation = evaluate_survival(
        job.wildcards.variant,
        validate_participants(whole(job.input.participants)),
        read_features(job.input.features),
        read_folds(job.input.folds),
        run=job.wildcards.run,
        seed=job.params.seed,
    )
    write_json(job.output.evaluation, {**evaluation, **provenance_of(job.input.features)})


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
