"""Checkpoints of an unfinished training: written whole or not at all, the newest few kept, a damaged one passed over.

A checkpoint holds what no function of the step gives back: both encoders, the queues, the optimiser's momentum, the
averages begun, and the step. Nothing else is state. Every random stream (order of the batches, views, order of the
keys) is seeded anew by the seed, the step or epoch, and the group; the learning rate and the position in the epoch
follow from the step.
"""

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any, TypedDict

import torch

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_path

logger = logging.getLogger(__name__)


class State(TypedDict):
    """The state of a training after `step` steps."""

    step: int
    contrast: dict[str, Any]  # of `contrast.Contrast`: encoder, key encoder, queues, optimiser
    telemetry: dict[str, Any]  # of `telemetry.Telemetry`


def save_checkpoint(work: Path, state: State, kept: int) -> None:
    """Write a checkpoint into a training's folder, then drop all but the newest `kept`; one process writes.

    Those of later steps are dropped too: a training that has gone back behind them could not read them.
    """
    for stray in work.glob(".*.checkpoint-*.pt"):  # of a writer that was killed: each may be a gigabyte
        stray.unlink()
    newest = work / f"checkpoint-{state['step']:09d}.pt"
    with atomic_path(newest) as path:
        torch.save(dict(state), path)
    checkpoints = _checkpoints(work)
    valid = [path for path in checkpoints if path <= newest]
    for path in set(checkpoints) - set(valid[-kept:]):
        path.unlink()


def newest_checkpoint(work: Path) -> State | None:
    """Return the newest checkpoint that can be read, on the CPU; None where there is none.

    Raises
    ------
    InputError
        If a file is undamaged and would run code when unpickled: nothing of it is run.
    """
    for path in reversed(_checkpoints(work)):
        damage = _damage(path)
        if damage:
            logger.warning("%s is damaged (%s): the one before it is tried", path, damage)
            continue
        try:
            state: State = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(
                f"{path} holds more than tensors and plain values, and is not read: no checkpoint of ours; remove it."
            ) from error
        logger.info("read %s", path)
        return state
    return None


def drop_checkpoints(work: Path) -> None:
    """Remove all checkpoints, so that what else is left of a finished training is never gone on with."""
    for path in _checkpoints(work):
        path.unlink()


def _damage(path: Path) -> str | None:
    """Return what is wrong with a file, by the checksums of its parts, which torch does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except zipfile.BadZipFile as error:
        return str(error)


def _checkpoints(work: Path) -> list[Path]:
    return sorted(work.glob("checkpoint-*.pt"))
