"""Train an encoder on the bank; started by python, torchrun or srun."""

import sys
from pathlib import Path

from _job import run

from drasclr_core.pretraining import STOPPED, pretrain_to_folder
from drasclr_core.settings import PretrainSettings


def main(job):
    settings = PretrainSettings(**job.params.settings, **vars(job.resources))
    finished = pretrain_to_folder(
        job.input.bank, job.input.atlas, Path(job.output.model), settings, job.params.provenance
    )
    if not finished:
        sys.exit(STOPPED)


if __name__ == "__main__":
    run(main)
