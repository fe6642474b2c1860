"""What the disease probe reads: trainings and what learns nothing, at every patch; and what is compared with what."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drasclr_core.atlas.bank import Bank
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import RECORD, read_json
from drasclr_core.base.stores import Store
from drasclr_core.config.settings import Features
from drasclr_core.evaluate.histograms import HISTOGRAMS
from drasclr_core.train.collapse import embedding_warnings

LOCATION = "location"
"""The row of the landmark's mean alone."""


@dataclass(frozen=True)
class LandmarkFeatures:
    """A run's features, (N, L, D) float32, of the participants named, in that order."""

    participant_ids: tuple[str, ...]
    features: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Training:
    """A training of a run as it is read.

    Attributes
    ----------
    name, label : str
        What training and run are called so read: "drasclr/seed-1" and "drasclr"; or, where more features are
        configured and this reads h alone, "drasclr/seed-1 (last)" and "drasclr (last)".
    run : str
    seed : int
    features : "last", "pooled" or "middle"
        Which are read.
    content : LandmarkFeatures
    warnings : sequence of str
    """

    name: str
    label: str
    run: str
    seed: int
    features: Features
    content: LandmarkFeatures
    warnings: Sequence[str] = ()


def read_landmark_features(folder: str | Path) -> LandmarkFeatures:
    """Return the features per landmark of a run's features folder."""
    store = Store.open(Path(folder) / "landmarks.zarr")
    return LandmarkFeatures(tuple(store.attribute("participant_ids")), store["features"][:])


def read_training(folder: str | Path, *, name: str, run: str, seed: int) -> Iterator[Training]:
    """Yield a training as its features folder has it and, where that has more, as read from the last layer alone."""
    record, content = read_json(Path(folder) / RECORD), read_landmark_features(folder)
    training = Training(name, run, run, seed, record["features"], content, embedding_warnings(record))
    yield training
    if training.features != "last":
        last = content.features[..., : record["model"]["architecture"]["feature_dim"]]
        content = LandmarkFeatures(content.participant_ids, last)
        yield replace(training, name=f"{name} (last)", label=f"{run} (last)", features="last", content=content)


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
        A run: its training of the same seed, read alike, is the partner.

    Returns
    -------
    dict
        Training's name, those of the reference left out -> the reference or a comparator -> the name of its row.

    Raises
    ------
    InputError
        If there is nothing to compare, or the reference lacks a seed.
    """
    partners = {(each.seed, each.features): each.name for each in trainings if each.run == reference}
    others = [each for each in trainings if each.run != reference]
    if not partners or not others:
        has = ", ".join(each.name for each in trainings)
        raise InputError(f"The disease probe compares runs with '{reference}', and has {has}: name both.")
    lacking = sorted({each.seed for each in others if (each.seed, each.features) not in partners})
    if lacking:
        raise InputError(f"runs.{reference}.seeds lacks {lacking}, seeds of what is compared with it: add them.")
    return {
        each.name: {reference: partners[each.seed, each.features], **{name: name for name in comparators}}
        for each in others
    }
