"""The methods compared: one file each, one protocol, one literal registry."""

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from drasclr_core.base.errors import InputError

if TYPE_CHECKING:
    from drasclr_core.atlas.subject import Subject

logger = logging.getLogger(__name__)

# name -> module with build(params) -> Method, and FITTED: when its fit() learns from subjects.
#   "never":      nothing is learnt; one embedding serves all folds
#   "per_fold":   once per fold, on that fold's training subjects only
#   "pretrained": once, without labels, by a stage of its own
METHODS = {
    "laa950": "drasclr_core.methods.laa950",
    "histogram": "drasclr_core.methods.histogram",
    "kmeans": "drasclr_core.methods.kmeans",
    "no_image": "drasclr_core.methods.no_image",
    "drasclr": "drasclr_core.methods.drasclr",
}


class Method(Protocol):
    """What turns a subject into features."""

    def fit(self, train: Sequence["Subject"], seed: int) -> None:
        """Learn from the training subjects, or do nothing; a second call forgets the first."""

    def embed(self, subject: "Subject") -> npt.NDArray[np.float32]:
        """Return the (F,) float32 features of one subject, all finite."""
        ...


def load_method(name: str, params: Mapping[str, Any]) -> Method:
    """Return a new, unfitted method; only the module of that method is imported.

    Parameters
    ----------
    name : str
        One of `METHODS`.
    params : mapping
        The run's ``params``; each method documents its own.

    Raises
    ------
    InputError
        If the name is unknown, or the method refuses a parameter.
    """
    method: Method = _module(name).build(params)
    return method


def embed_cohort(
    name: str, params: Mapping[str, Any], subjects: Sequence["Subject"], folds: Mapping[str, int], seed: int
) -> pd.DataFrame:
    """Fit a method and embed all subjects, without any fold's subjects taking part in the features it is judged on.

    Parameters
    ----------
    name, params
        As for `load_method`; the method is not "pretrained", which has a stage of its own.
    subjects : sequence of Subject
        The included participants.
    folds : mapping
        Participant id -> fold, of the whole cohort.
    seed : int
        Passed to each fit.

    Returns
    -------
    DataFrame
        participant_id (sorted), fold, f0 ... (float32). A method that never learns has one block with fold -1; else
        block k holds all subjects, embedded after a fit on those outside fold k.

    Raises
    ------
    InputError
        If the method is unknown or pretrained, or a subject cannot be used.
    """
    fitted = _module(name).FITTED
    if fitted == "pretrained":
        raise InputError(f"Method '{name}' is pretrained: its features come from the pretrain and embed stages.")
    subjects = sorted(subjects, key=lambda subject: subject.participant_id)
    method = load_method(name, params)
    if fitted == "never":
        return _block(method, subjects, fold=-1)
    blocks = []
    for fold in sorted(set(folds.values())):
        logger.info("%s: fold %d", name, fold)
        method.fit([subject for subject in subjects if folds[subject.participant_id] != fold], seed)
        blocks.append(_block(method, subjects, fold))
    return pd.concat(blocks, ignore_index=True)


def _block(method: Method, subjects: Sequence["Subject"], fold: int) -> pd.DataFrame:
    features = np.stack([method.embed(subject) for subject in subjects])
    frame = pd.DataFrame(features, columns=[f"f{index}" for index in range(features.shape[1])])
    frame.insert(0, "fold", fold)
    frame.insert(0, "participant_id", [subject.participant_id for subject in subjects])
    return frame


def _module(name: str) -> ModuleType:
    if name not in METHODS:
        raise InputError(f"Method '{name}' is unknown; the methods are {', '.join(METHODS)}.")
    return import_module(METHODS[name])
