"""Train an encoder on the bank; started by python, torchrun or srun.

Exits with 75 where it stopped before its end, with a checkpoint, to be started again (torchrun alone makes 1 of it).
"""

import sys
import time
from pathlib import Path

from _job import run


def main(job):
    started = time.monotonic()  # before the imports: their seconds count towards the time limit
    from drasclr_core.config.settings import PretrainSettings
    from drasclr_core.train.job import STOPPED, pretrain_to_folder

    upkeep = vars(job.resources)
    source = upkeep.pop("probe", {})

    def make_probe(bank, settings):
        from drasclr_core.evaluate.online_probe import online_probe  # seconds of imports that no other training needs

        return online_probe(bank, settings, **source)

    finished = pretrain_to_folder(
        job.input.bank,
        job.input.atlas,
        Path(job.output.model),
        PretrainSettings(**job.params.settings, **upkeep),
        job.params.provenance,
        started=started,
        make_probe=make_probe,
    )
    if not finished:
        sys.exit(STOPPED)


if __name__ == "__main__":
    run(main)
