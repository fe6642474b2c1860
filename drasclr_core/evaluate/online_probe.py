"""A linear readout of the encoder in training: how much its features tell so far, of a label or of the true disease."""

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from drasclr_core.atlas.bank import Bank
from drasclr_core.base.errors import InputError
from drasclr_core.base.tables import whole
from drasclr_core.cohort.folds import assign_folds
from drasclr_core.cohort.persons import table_persons
from drasclr_core.cohort.table import validate_participants
from drasclr_core.config.settings import TRUE_DISEASE, Features, PretrainSettings
from drasclr_core.config.tasks import TASKS
from drasclr_core.evaluate.disease_probe import ProbedPatches, out_of_fold
from drasclr_core.evaluate.metrics import METRICS
from drasclr_core.evaluate.probes import Readout, evaluate_task
from drasclr_core.evaluate.truth import PatchDisease, patch_disease
from drasclr_core.model.embed_bank import embed_patches, subject_features
from drasclr_core.model.encoder import Encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Probe:
    """What both probes share; a probe holds one bank row in memory.

    Attributes
    ----------
    bank : Bank
    settings : PretrainSettings
        `probe_task`, `probe_landmarks`.
    folds : dict
        Participant id -> fold.
    readout : {"plain", "penalised"}
        As of `probes.evaluate_task`.
    seed : int
        Of the readout: not the training's.
    kind : "last", "pooled" or "middle"
        Which features of the encoder are read.
    """

    bank: Bank
    settings: PretrainSettings
    folds: dict[str, int]
    readout: Readout
    seed: int
    kind: Features

    @property
    def landmarks(self) -> npt.NDArray[np.int64]:
        """The landmarks probed, evenly spaced in the grid's order."""
        places = np.linspace(0, len(self.bank.grid) - 1, self.settings.probe_landmarks)
        return np.unique(places.round().astype(np.int64))

    def features(self, encoder: Encoder) -> npt.NDArray[np.float32]:
        """Return the features, (N, P, D), of all subjects at the landmarks probed.

        A copy of the encoder does the work: the one in training keeps its mode, precision and statistics.
        """
        frozen = copy.deepcopy(encoder).to(torch.float32).eval()
        frozen.features = self.kind
        codes = torch.from_numpy(self.bank.grid.codes).to(frozen.device, torch.float32)
        rows = [embed_patches(self.bank.row(place), codes[place], frozen) for place in self.landmarks.tolist()]
        return np.stack(rows, axis=1)


@dataclass(frozen=True)
class OnlineProbe(_Probe):
    """The cross-validated score of one task, read from the mean feature of a few landmarks.

    It is the figure of the tables (first metric of the task, mean over the folds; same folds, same readout), from
    `probe_landmarks` landmarks in place of all.

    Attributes
    ----------
    participants : DataFrame
        The validated participants table.
    """

    participants: pd.DataFrame

    def __call__(self, encoder: Encoder) -> float | None:
        """Return the score of the encoder as it is; None, with a warning, where it cannot be evaluated."""
        used, means = self.subject_means(encoder)
        if not np.isfinite(means).all():
            logger.warning("no probe: the features are not finite")
            return None
        features = pd.DataFrame(means, columns=[f"f{i}" for i in range(means.shape[1])])
        features.insert(0, "fold", -1)
        features.insert(0, "participant_id", np.array(self.bank.participant_ids)[used])
        task = self.settings.probe_task
        evaluation = evaluate_task(
            task, self.participants, features, self.folds, run="probe", readout=self.readout, seed=self.seed
        )
        if evaluation["reason"]:
            logger.warning("no probe: %s", evaluation["reason"])
        score: float | None = evaluation["summary"][TASKS[task].metrics[0]]["mean"]
        return score

    def subject_means(self, encoder: Encoder) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Return which subjects, (N,) bool, have a valid landmark among those probed, and their features (n, D)."""
        valid = self.bank.valid[self.landmarks]
        used = np.asarray(valid.any(axis=0))
        return used, subject_features(self.features(encoder)[used], valid[:, used])


@dataclass(frozen=True)
class TruthProbe(_Probe):
    """R2 of the true disease of a phantom's patches at a few landmarks, as of `disease_probe.probe_disease`.

    Attributes
    ----------
    disease : list of PatchDisease
        Of the bank's subjects, in its order.
    """

    disease: list[PatchDisease]

    def __call__(self, encoder: Encoder) -> float | None:
        """Return the score of the encoder as it is; None, with a warning, where it cannot be evaluated."""
        target = self.settings.probe_task.removeprefix(TRUE_DISEASE)
        measured = np.stack([each.measured[self.landmarks] for each in self.disease])
        truth = np.stack([each.fraction(target)[self.landmarks] for each in self.disease])[measured]
        features = self.features(encoder)[measured].astype(np.float64)
        if not np.isfinite(features).all():
            logger.warning("no probe: the features are not finite")
            return None
        subject, landmark = np.nonzero(measured)
        folds = np.array([self.folds[name] for name in self.bank.participant_ids])[subject]
        if len(np.unique(folds)) < 2:
            logger.warning("no probe: the measured patches are of one fold")
            return None
        patches = ProbedPatches(subject, landmark, folds)
        prediction, _ = out_of_fold(features, truth[:, None], patches, self.readout, self.seed)
        return METRICS["r2"](truth, prediction[:, 0])


def online_probe(
    bank: Bank,
    settings: PretrainSettings,
    *,
    participants: str | Path,
    folds: int,
    readout: Readout,
    seed: int,
    features: Features,
    truth: dict[str, Any] | None = None,
) -> OnlineProbe | TruthProbe:
    """Return the probe that the settings ask for.

    Parameters
    ----------
    bank : Bank
    settings : PretrainSettings
    participants : path
        The checked participants table.
    folds : int
        How many.
    readout : {"plain", "penalised"}
    seed : int
        Of folds and readout.
    features : "last", "pooled" or "middle"
        Which of the encoder's the probe reads.
    truth : dict, optional
        Of a cohort of phantoms: the folders ``phantom``, ``ingested`` and ``patches`` that hold a folder of each.

    Raises
    ------
    InputError
        If there is no such table, it lacks a subject of the bank, or the true disease of one is not known.
    """
    if not Path(participants).exists():
        raise InputError(f"pretrain.probe_steps needs {participants}: make it first, or set probe_steps to 0.")
    table = validate_participants(whole(participants))
    fold_of = assign_folds(table["participant_id"], folds, seed, table_persons(table))
    absent = [name for name in bank.participant_ids if name not in fold_of]
    if absent:
        raise InputError(f"{participants} lacks {', '.join(absent[:5])}, of {len(absent)} subjects in the bank.")
    common = (bank, settings, fold_of, readout, seed, features)
    if not settings.probe_task.startswith(TRUE_DISEASE):
        return OnlineProbe(*common, table)
    return TruthProbe(*common, _true_disease(bank, settings.probe_task, truth or {}))


def _true_disease(bank: Bank, task: str, truth: dict[str, Any]) -> list[PatchDisease]:
    folders = [{kind: Path(folder) / name for kind, folder in truth.items()} for name in bank.participant_ids]
    absent = next((str(path) for each in folders for path in each.values() if not path.exists()), None)
    if absent or not truth:
        raise InputError(
            f"pretrain.probe_task {task} needs phantoms and {absent or 'their true disease'}: keep phantom, ingest and "
            "patches in storage.keep, or probe a label."
        )
    return [patch_disease(**each) for each in folders]
