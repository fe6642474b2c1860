"""Read every label out of a run's features, fold by fold."""

import logging
from pathlib import Path

from _job import run

from drasclr_core.base.files import write_json
from drasclr_core.base.tables import whole
from drasclr_core.cohort.folds import read_folds
from drasclr_core.cohort.table import validate_participants
from drasclr_core.evaluate.probes import evaluate_task, provenance_of, read_features


def main(job):
    participants, folds = validate_participants(whole(job.input.participants)), read_folds(job.input.folds)
    features = read_features(job.input.features)
    record = provenance_of(job.input.features)
    common = {"run": job.wildcards.run, "readout": job.params.readout, "seed": job.params.seed}
    for path in map(Path, job.output.evaluations):
        logging.info("%s", path.stem)
        write_json(path, {**evaluate_task(path.stem, participants, features, folds, **common), **record})


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
