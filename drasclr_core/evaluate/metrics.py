"""The figures that judge a prediction, and their summary over folds.

A figure that is undefined for the given sample is None, never a number that stands for it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt


def r2(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float | None:
    """Return the coefficient of determination, 1 - residual / total sum of squares; higher is better, 1 is perfect.

    The mean is that of `truth`, so predicting it gives 0 and anything worse is negative without bound.

    Parameters
    ----------
    truth, prediction : (n,) arrays
        Any unit, the same for both.

    Returns
    -------
    float or None
        None where it is undefined: a single sample, or a truth that does not vary.

    Raises
    ------
    ValueError
        If the arrays are empty, not finite, or differ in length.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 3.2 (Table 2).
    """
    truth, prediction = _checked(truth, prediction)
    if truth.min() == truth.max():
        return None
    return 1 - _sum_of_squares(truth - prediction) / _sum_of_squares(truth - truth.mean())


def accuracy(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Return the share of samples whose class is predicted exactly, 0 to 1; higher is better.

    Parameters
    ----------
    truth, prediction : (n,) arrays
        Classes.

    Raises
    ------
    ValueError
        If the arrays are empty, not finite, or differ in length.
    """
    truth, prediction = _checked(truth, prediction)
    return float(np.mean(truth == prediction))


def within_one(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Return the share of samples predicted at most one class off, 0 to 1; higher is better (the paper's "1-off").

    Parameters
    ----------
    truth, prediction : (n,) arrays
        Classes of an ordinal scale with steps of 1.

    Raises
    ------
    ValueError
        If the arrays are empty, not finite, or differ in length.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 3.2 (Table 2).
    """
    truth, prediction = _checked(truth, prediction)
    return float(np.mean(np.abs(truth - prediction) <= 1))


def precision(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float | None:
    """Return the share of true positives among those predicted positive, 0 to 1; None where none is.

    Parameters
    ----------
    truth, prediction : (n,) arrays
        1 is positive, 0 negative.

    Raises
    ------
    ValueError
        If the arrays are empty, hold anything but 0 and 1, or differ in length.
    """
    hits, _, predicted = _counts(truth, prediction)
    return hits / predicted if predicted else None


def recall(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float | None:
    """Return the share of the positives that are predicted positive, 0 to 1; None where there is none.

    Takes what `precision` takes.
    """
    hits, positive, _ = _counts(truth, prediction)
    return hits / positive if positive else None


def f1(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float | None:
    """Return 2 TP / (2 TP + FP + FN), 0 to 1: the harmonic mean of precision and recall; None where no one is positive.

    Takes what `precision` takes.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.3.1 (Table 5).
    """
    hits, positive, predicted = _counts(truth, prediction)
    return 2 * hits / (positive + predicted) if positive + predicted else None


METRICS: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike], float | None]] = {
    "r2": r2,
    "accuracy": accuracy,
    "within_one": within_one,
    "f1": f1,
    "precision": precision,
    "recall": recall,
}


def mean_and_sd(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation (n - 1 in the denominator) of the values that are defined.

    Parameters
    ----------
    values : sequence of float or None
        One figure per fold.

    Returns
    -------
    mean : float or None
        None without any defined value.
    sd : float or None
        None with fewer than two.
    """
    defined = [value for value in values if value is not None]
    mean = float(np.mean(defined)) if defined else None
    sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return mean, sd


def _checked(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[npt.NDArray, npt.NDArray]:
    # float64 also keeps unsigned classes from wrapping around when subtracted.
    truth, prediction = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} must be (n,) of the same length")
    if truth.size == 0:
        raise ValueError("no sample to judge")
    if not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
        raise ValueError("truth and prediction must be finite")
    return truth, prediction


def _counts(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[int, int, int]:
    """Return how many are positive in both, in `truth`, in `prediction`."""
    truth, prediction = _checked(truth, prediction)
    if not (np.isin(truth, (0, 1)).all() and np.isin(prediction, (0, 1)).all()):
        raise ValueError("truth and prediction must be 0 or 1")
    return int(np.sum(truth * prediction)), int(truth.sum()), int(prediction.sum())


def _sum_of_squares(values: npt.NDArray) -> float:
    return float(np.sum(values**2))
