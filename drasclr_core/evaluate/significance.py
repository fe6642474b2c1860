"""Is one method better than another? Tests on the folds of a cross-validation."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from drasclr_core.config.table_specs import Alternative

Floats = npt.NDArray[np.float64]
Fold = Mapping[str, Any]

_ROUNDING = 1e-12  # a standard error below this share of the values is rounding noise

TOO_FEW = "fewer than two folds have values"
NO_SPREAD = "the values do not vary over the folds"
NO_SPREAD_OF_DIFFERENCES = "the differences do not vary over the folds"
NOT_PAIRED = "the folds hold other subjects"


def compare_folds(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], metric: str, alternative: Alternative
) -> dict[str, Any]:
    """Test one metric of two methods that were cross-validated alike; folds where either has no value do not count.

    Parameters
    ----------
    ours, theirs : mappings
        As `drasclr_core.evaluate.probes.evaluate_task` returns them. Higher is better.
    metric : str
        A key of the folds' metrics.
    alternative : {"greater", "two-sided"}
        Whether ours is better, or different.

    Returns
    -------
    dict
        JSON-able: ``folds`` (how many count), ``difference`` (mean of ours minus mean of theirs, None without folds),
        ``plain`` (`t_test`) and ``corrected`` (`corrected_t_test`, which needs the same subjects in each fold).
    """
    pairs = [pair for pair in _common_folds(ours, theirs) if all(fold["metrics"][metric] is not None for fold in pair)]
    values = np.array([[fold["metrics"][metric] for fold in pair] for pair in pairs], np.float64).reshape(-1, 2)
    a, b = values.T
    if all(_subjects(first) == _subjects(second) for first, second in pairs):
        n_train, n_test = (sum(first[size] for first, _ in pairs) for size in ("n_train", "n_test"))
        corrected = corrected_t_test(a - b, n_test / n_train if n_train else math.inf, alternative)
    else:
        corrected = _undefined(NOT_PAIRED)
    difference = float(a.mean() - b.mean()) if pairs else None
    return {
        "folds": len(pairs),
        "difference": difference,
        "plain": t_test(a, b, alternative),
        "corrected": corrected,
    }


def t_test(a: Floats, b: Floats, alternative: Alternative) -> dict[str, Any]:
    """Return Student's two-sample t-test with equal variances: the paper's.

    It takes the values of the folds as independent. They are not, for the training sets of any two folds overlap, and
    so its p tends to be too small.

    Parameters
    ----------
    a, b : (k,) arrays
        A metric in each fold, of two methods.
    alternative : {"greater", "two-sided"}
        Whether the mean of `a` is greater, or different.

    Returns
    -------
    dict
        ``t, df, p`` (None where undefined) and ``reason`` (None, or why).
    """
    if min(len(a), len(b)) < 2:
        return _undefined(TOO_FEW)
    df = len(a) + len(b) - 2
    pooled = ((a - a.mean()) @ (a - a.mean()) + (b - b.mean()) @ (b - b.mean())) / df
    error = math.sqrt(pooled * (1 / len(a) + 1 / len(b)))
    if error <= _ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        return _undefined(NO_SPREAD)
    return _tested(float(a.mean() - b.mean()) / error, df, alternative)


def corrected_t_test(differences: Floats, test_to_train: float, alternative: Alternative) -> dict[str, Any]:
    """Return the corrected resampled t-test of paired differences over folds.

    The variance of their mean is taken as (1 / k + n_test / n_train) times their sample variance, in place of 1 / k
    times, which allows for the overlap of the training sets.

    Parameters
    ----------
    differences : (k,) array
        A metric in each fold, ours minus theirs.
    test_to_train : float
        Subjects tested per subject trained on, n_test / n_train.
    alternative : {"greater", "two-sided"}
        Whether their mean is greater than 0, or different.

    Returns
    -------
    dict
        As of `t_test`, with k - 1 degrees of freedom.

    References
    ----------
    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
    """
    count = len(differences)
    if count < 2:
        return _undefined(TOO_FEW)
    error = math.sqrt((1 / count + test_to_train) * differences.var(ddof=1))
    if error <= _ROUNDING:
        return _undefined(NO_SPREAD_OF_DIFFERENCES)
    return _tested(float(differences.mean()) / error, count - 1, alternative)


def _tested(statistic: float, df: int, alternative: Alternative) -> dict[str, Any]:
    p = student.sf(statistic, df) if alternative == "greater" else 2 * student.sf(abs(statistic), df)
    return {"t": statistic, "df": df, "p": float(p), "reason": None}


def _undefined(reason: str) -> dict[str, Any]:
    return {"t": None, "df": None, "p": None, "reason": reason}


def _common_folds(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[Fold, Fold]]:
    by_number = {fold["fold"]: fold for fold in theirs["folds"]}
    return [(fold, by_number[fold["fold"]]) for fold in ours["folds"] if fold["fold"] in by_number]


def _subjects(fold: Fold) -> tuple[int, Any]:
    return fold["n_train"], fold.get("ids")
