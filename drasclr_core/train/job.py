"""A training as a job: its work folder, its settings, the finished model folder."""

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from drasclr_core.atlas.bank import Bank, open_bank
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_directory
from drasclr_core.base.locks import alone_in
from drasclr_core.config.checks import digest
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.files import is_made_from, write_sums
from drasclr_core.model.folder import save_model
from drasclr_core.model.origin import TRAINED_ON, origin_of
from drasclr_core.train.checkpoint import drop_checkpoints
from drasclr_core.train.collapse import read_collapse
from drasclr_core.train.loop import Probe, pretrain
from drasclr_core.workflow.unfinished import WORK, note_training

logger = logging.getLogger(__name__)

STOPPED = 75
"""Exit status of a training that stopped with a checkpoint and wants to be started again (EX_TEMPFAIL)."""


def pretrain_to_folder(
    bank_path: str | Path,
    atlas_mask: str | Path,
    folder: Path,
    settings: PretrainSettings,
    provenance: dict[str, Any],
    *,
    started: float | None = None,
    make_probe: Callable[[Bank, PretrainSettings], Probe] | None = None,
) -> bool:
    """Train on a bank and publish the model folder; go on with an interrupted training of the same job.

    Unfinished state lies in ``work/{digest}`` of everything that decides the result, and is removed at the end. A model
    folder that the same job has made before, of equal patches, stays as it is; another one stays until the new one
    takes its place.

    Parameters
    ----------
    bank_path : path
    atlas_mask : path
        Copied into the model folder.
    folder : path
        The model folder to write.
    settings : PretrainSettings
    provenance : dict
        Preprocessing and versions; written into ``model.json``.
    started : float, optional
        When the process started, on the clock of `time.monotonic`; for its time limit.
    make_probe : callable, optional
        Makes the probe of `settings.probe_steps` in the leading process, such as `online_probe.online_probe`.

    Returns
    -------
    bool
        False if stopped before the end (see `loop.pretrain`).

    Raises
    ------
    InputError
        If another training is in the folder of unfinished state, the bank was built anew with other patches during the
        training, or as of `loop.pretrain`.
    """
    bank = open_bank(bank_path)
    subjects = [bank.participant_ids, bank.persons.tolist()]
    made_from = digest([settings.decisive(), provenance, subjects, bank.grid.to_json(), _identity(bank, bank_path)])
    if is_made_from(folder, made_from):
        logger.info("%s has been trained with these settings on these patches: it stays", folder)
        if _leads():  # the others only look: two writers of one file would break each other off
            write_sums(folder)  # Snakemake removes them before it starts a training
        return True
    # Two runs that differ in their upkeep alone may train at the same time.
    work = WORK / digest([str(folder), made_from])
    work.mkdir(parents=True, exist_ok=True)
    logger.info("unfinished state lies in %s", work)
    probe = make_probe(bank, settings) if make_probe and settings.probe_steps and _leads() else None
    with alone_in(work) if _leads() else nullcontext():  # the others wait for the leading process, to be joined by it
        if _leads():
            note_training(work, folder)
        result = pretrain(bank, settings, work, started=started, probe=probe)
    if result is None:
        return False
    encoder, leads = result
    if leads:
        if _identity(open_bank(bank_path), bank_path) != _identity(bank, bank_path):
            raise InputError(
                f"{bank_path} was built anew during the training, of which it is no longer: start it again."
            )
        with atomic_directory(folder) as partial:
            collapse = read_collapse(work / "metrics.csv")
            ids = bank.participant_ids
            told = {
                TRAINED_ON: origin_of(ids),
                "participant_ids": ids,
                "warnings": [collapse] if collapse else [],
            }
            description = {**provenance, **told, "made_from": made_from}
            save_model(partial, encoder, bank.grid, settings, description, atlas_mask)
            shutil.copyfile(work / "metrics.csv", partial / "metrics.csv")
            shutil.copytree(work / "tensorboard", partial / "tensorboard")
        drop_checkpoints(work)  # first: without its metrics a checkpoint must not be gone on with
        shutil.rmtree(work)
    return True


def _identity(bank: Bank, path: str | Path) -> str | int:
    """Return what tells patches from others: what they are or, of a bank of an earlier version, when it was built."""
    return bank.sha256 or (Path(path) / "zarr.json").stat().st_mtime_ns


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"  # torchrun's
