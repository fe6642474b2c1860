"""Out-of-fold predictions of a label judged together, all folds at once, with a bootstrap of persons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from drasclr_core.evaluate.bootstrap import RESAMPLES, SubjectSums, draw_subjects, pooled_r2, sum_by_subject

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEW_PEOPLE = 30
"""A figure of fewer people than this is marked, and none of its p is given: an interval of such a sample is a guess."""


@dataclass(frozen=True)
class Predictions:
    """The n out-of-fold predictions of an evaluation, of all folds, sorted by id.

    Attributes
    ----------
    ids : list of str
    persons : (n,) int64 array
        Whose each is, counted from 0.
    truth, prediction : (n,) float64 arrays
        In the unit of the label, or classes.
    """

    ids: list[str]
    persons: Ints
    truth: Floats
    prediction: Floats

    @classmethod
    def of(cls, evaluation: Mapping[str, Any]) -> Self:
        """Return those of an evaluation as `drasclr_core.evaluate.probes.evaluate_task` returns it."""
        gathered = {
            key: [value for fold in evaluation["folds"] for value in fold[key]]
            for key in ("ids", "persons", "truth", "prediction")
        }
        ids = gathered["ids"]
        order = sorted(range(len(ids)), key=ids.__getitem__)
        truth, prediction = (np.array(gathered[key], np.float64)[order] for key in ("truth", "prediction"))
        return cls([ids[place] for place in order], np.array(gathered["persons"], np.int64)[order], truth, prediction)

    def draw_persons(self, seed: int) -> Ints:
        """Return how often each person counts, (1 + RESAMPLES, persons): in the sample itself, then in its resamples.

        Without any person there are no resamples.
        """
        count = int(self.persons.max(initial=-1)) + 1
        once = np.ones((1, count), np.int64)
        return np.vstack([once, draw_subjects(count, RESAMPLES, seed)]) if count else once

    def judge(self, metric: str, draws: Ints) -> Floats:
        """Return a metric over the predictions of each row of drawn persons, (R,); NaN where it is undefined.

        Parameters
        ----------
        metric : "r2", "accuracy" or "within_one"
            As of `drasclr_core.evaluate.metrics`.
        draws : (R, persons) array
            As of `draw_persons`.
        """
        if not len(self.truth):
            return np.full(len(draws), np.nan)
        count = draws.shape[1]
        sums = SubjectSums.of(self.truth, self.persons, count)
        error = np.abs(self.truth - self.prediction)
        if metric == "r2":
            return pooled_r2(sum_by_subject(error**2, self.persons, count), sums, draws)
        within = {"accuracy": 0, "within_one": 1}[metric]
        right = sum_by_subject((error <= within).astype(np.float64), self.persons, count)
        return draws @ right / (draws @ sums.count)
