"""A linear readout of the encoder in training: how much of one label its features tell so far."""

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from drasclr_core.bank import Bank
from drasclr_core.cohort import validate_participants
from drasclr_core.embedding import embed_patches, subject_features
from drasclr_core.encoder import Encoder
from drasclr_core.errors import InputError
from drasclr_core.folds import assign_folds
from drasclr_core.persons import table_persons
from drasclr_core.probes import Readout, evaluate_task
from drasclr_core.settings import PretrainSettings
from drasclr_core.tasks import TASKS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnlineProbe:
    """The cross-validated score of one task, read from the mean feature of a few landmarks.

    It is the figure of the tables (first metric of the task, mean over the folds; same folds, same readout), from
    `probe_landmarks` landmarks in place of all. A probe holds one bank row in memory.

    Attributes
    ----------
    bank : Bank
    settings : PretrainSettings
        `probe_task`, `probe_landmarks`.
    participants : DataFrame
        The validated participants table.
    folds : dict
        Participant id -> fold.
    readout : {"plain", "penalised"}
        As of `probes.evaluate_task`.
    seed : int
        Of the readout: not the training's.
    """

    bank: Bank
    settings: PretrainSettings
    participants: pd.DataFrame
    folds: dict[str, int]
    readout: Readout
    seed: int

    @classmethod
    def of_table(
        cls,
        bank: Bank,
        settings: PretrainSettings,
        *,
        participants: str | Path,
        folds: int,
        readout: Readout,
        seed: int,
    ) -> Self:
        """Return the probe of a checked participants table; `seed` is that of folds and readout.

        Raises
        ------
        InputError
            If there is no such table, or it lacks a subject of the bank.
        """
        if not Path(participants).exists():
            raise InputError(f"pretrain.probe_steps needs {participants}: make it first, or set probe_steps to 0.")
        table = validate_participants(participants)
        fold_of = assign_folds(table["participant_id"], folds, seed, table_persons(table))
        absent = [name for name in bank.participant_ids if name not in fold_of]
        if absent:
            raise InputError(f"{participants} lacks {', '.join(absent[:5])}, of {len(absent)} subjects in the bank.")
        return cls(bank, settings, table, fold_of, readout, seed)

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
        """Return which subjects, (N,) bool, have a valid landmark among those probed, and their features (n, D).

        A copy of the encoder does the work: the one in training keeps its mode, precision and statistics.
        """
        grid = self.bank.grid
        probed = np.unique(np.linspace(0, len(grid) - 1, self.settings.probe_landmarks).round().astype(int))
        frozen = copy.deepcopy(encoder).to(torch.float32).eval()
        codes = torch.from_numpy(grid.codes).to(frozen.device, torch.float32)
        features = [embed_patches(self.bank.row(landmark), codes[landmark], frozen) for landmark in probed.tolist()]
        valid = self.bank.valid[probed]
        used = valid.any(axis=0)
        return used, subject_features(np.stack(features, axis=1)[used], valid[:, used])
