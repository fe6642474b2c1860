"""What each of two processes does in test_processes.py: be stopped, go on, and miss a checkpoint."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from toy_bank import SETTINGS as TOY
from toy_bank import toy_bank

from drasclr_core.base.errors import InputError
from drasclr_core.train.loop import pretrain

SETTINGS = replace(
    TOY,
    epochs=1,
    neighbours=1,
    negatives="fresh",  # of the queue and of the batch
    precision="float64",
    learning_rate=0.05,
    checkpoint_minutes=0,
    time_limit_minutes=60,
    margin_minutes=10,
    probe_steps=4,
)


def main(work, rank):
    """Return what happened."""
    probes = []
    ports = iter(os.environ["PORTS"].split())

    def train(folder, **options):
        os.environ["MASTER_PORT"] = next(ports)  # the last one may still be listened to
        return pretrain(toy_bank(), SETTINGS, folder, **options)

    def probe(encoder):
        probes.append(rank)
        return 0.5

    out_of_time = time.monotonic() - 3001 if rank == 1 else None
    stopped = train(work, started=out_of_time, probe=probe) is None
    left = [path.name for path in work.glob("*.pt")]
    finished = train(work, probe=probe) is not None
    try:
        train(work if rank == 0 else work / "local")
        fault = None
    except InputError as error:
        fault = str(error)
    return {"stopped": stopped, "left": left, "finished": finished, "probes": probes, "fault": fault}


if __name__ == "__main__":
    rank = os.environ["RANK"]
    (Path(sys.argv[1]) / f"{rank}.json").write_text(json.dumps(main(Path(sys.argv[1]), int(rank))))
