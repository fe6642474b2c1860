"""What the disease probe reads: trainings and what learns nothing, at every patch; and what is compared with what."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drasclr_core.bank import Bank
from drasclr_core.errors import InputError
from drasclr_core.histograms import HISTOGRAMS

LOCATION = "location"
"""The row of the landmark's mean alone."""


@dataclass(frozen=True)
class LandmarkFeatures:
    """A run's features, (N, L, D) float32, of the participants named, in that order."""

    participant_ids: tuple[str, ...]
    features: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Training:
    """A training of a run, its seed, its features, and what it warns of."""

    name: str
    run: str
    seed: int
    content: LandmarkFeatures
    warnings: Sequence[str] = ()


def read_landmark_features(folder: str | Path) -> LandmarkFeatures:
    """Return the features per landmark of a run's features folder."""
    import zarr

    store = zarr.open_group(Path(folder) / "landmarks.zarr", mode="r")
    features: Any = store["features"]
    ids: Any = store.attrs["participant_ids"]
    return LandmarkFeatures(tuple(ids), features[:])


def bank_histograms(bank: Bank) -> dict[str, LandmarkFeatures]:
    """Return each of `HISTOGRAMS` of all patches of a bank; those of one landmark are in memory at a time."""
    rows = [{name: make(row) for name, make in HISTOGRAMS.items()} for row in map(bank.row, range(len(bank.grid)))]
    ids = tuple(bank.participant_ids)
    return {name: LandmarkFeatures(ids, np.stack([row[name] for row in rows], axis=1)) for name in HISTOGRAMS}


def compared(trainings: Sequence[Training], comparators: Iterable[str], reference: str) -> dict[str, dict[str, str]]:
    """Return what each training is compared with.

    Parameters
    ----------
    trainings : sequence of Training
    comparators : iterable of str
        What was not learnt.
    reference : str
        A run: its training of the same seed is the partner.

    Returns
    -------
    dict
        Training's name, those of the reference left out -> the reference or a comparator -> the name of its row.

    Raises
    ------
    InputError
        If there is nothing to compare, or the reference lacks a seed.
    """
    partners = {each.seed: each.name for each in trainings if each.run == reference}
    others = [each for each in trainings if each.run != reference]
    if not partners or not others:
        has = ", ".join(each.name for each in trainings)
        raise InputError(f"The disease probe compares runs with '{reference}', and has {has}: name both.")
    lacking = sorted({each.seed for each in others} - set(partners))
    if lacking:
        raise InputError(f"runs.{reference}.seeds lacks {lacking}, seeds of what is compared with it: add them.")
    return {each.name: {reference: partners[each.seed], **{name: name for name in comparators}} for each in others}
