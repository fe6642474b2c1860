"""Bootstrap intervals of a pooled coefficient of determination, with whole subjects drawn anew.

The patches of a subject resemble each other, so they are drawn together: only subjects are independent. The readouts
are not fitted again; an interval is that of fixed out-of-fold predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
LEVEL = 0.95

_ROUNDING = 1e-12  # variation below this share of the sum of squares is rounding noise


@dataclass(frozen=True)
class SubjectSums:
    """What the truth of each subject's patches adds to a pooled total sum of squares: count, sum, sum of squares."""

    count: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]

    @classmethod
    def of(cls, truth: npt.NDArray[np.floating], subject: npt.NDArray[np.integer], subjects: int) -> "SubjectSums":
        """Sum the truth of the samples, (n,), over their subjects, (n,) from 0 to `subjects` - 1."""
        return cls(*(sum_by_subject(truth**power, subject, subjects) for power in range(3)))


def sum_by_subject(
    values: npt.NDArray[np.floating], subject: npt.NDArray[np.integer], subjects: int
) -> npt.NDArray[np.float64]:
    """Return the sum of each subject's values, (subjects,); `subject` holds the index of each value's."""
    return np.bincount(subject, values, minlength=subjects).astype(np.float64)


def draw_subjects(subjects: int, resamples: int, seed: int | Sequence[int]) -> npt.NDArray[np.int64]:
    """Return how often each subject is drawn in each resample, (resamples, subjects); each row sums to `subjects`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples)


def pooled_r2(
    squared_errors: npt.NDArray[np.float64], truth: SubjectSums, draws: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Return R2 over all samples of the drawn subjects, pooled; the mean is that of the drawn samples' truth.

    Parameters
    ----------
    squared_errors : (S,) array
        Sum of squared errors of each subject's samples.
    truth : SubjectSums
        Of the same subjects.
    draws : (R, S) array
        How often each subject counts.

    Returns
    -------
    (R,) float64 array
        1 - residual / total sum of squares; NaN where the drawn truth does not vary.
    """
    count, total, squares = (draws @ sums for sums in (truth.count, truth.total, truth.squares))
    variation = squares - np.divide(total**2, count, out=np.zeros_like(total), where=count > 0)
    defined = variation > _ROUNDING * squares
    return 1 - np.divide(draws @ squared_errors, variation, out=np.full(len(draws), np.nan), where=defined)


def with_interval(estimate: float, resampled: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return an estimate and its percentile interval at `LEVEL`.

    Parameters
    ----------
    estimate : float
        On the sample itself; NaN where it is undefined.
    resampled : (R,) array
        On the resamples; those that are NaN are left out and counted.

    Returns
    -------
    dict
        ``estimate, low, high`` (None where undefined) and ``undefined_resamples``.
    """
    defined = resampled[np.isfinite(resampled)]
    undefined = len(resampled) - len(defined)
    if not np.isfinite(estimate) or not len(defined):
        return {"estimate": None, "low": None, "high": None, "undefined_resamples": undefined}
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"estimate": float(estimate), "low": float(low), "high": float(high), "undefined_resamples": undefined}
