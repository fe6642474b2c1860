"""Survival by predicted risk: Kaplan-Meier curves of risk groups with the log-rank test, and calibration.

Plain data for figures; nothing is drawn here.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from drasclr_core.evaluate.concordance import Curve, Outcome, survival_curve

_Z_95 = 1.959963984540054


def risk_groups(risk: npt.NDArray[np.float64], outcome: Outcome, groups: int = 3) -> dict[str, Any]:
    """Return the Kaplan-Meier curve of each group of risk and the log-rank test of their difference.

    Parameters
    ----------
    risk : (n,) array
        Out of fold; higher is worse.
    outcome : Outcome
        Of the n subjects.
    groups : int
        Cut at the quantiles of the risk, so of nearly equal size where the risk has no ties.

    Returns
    -------
    dict
        JSON-able: ``cut_points`` (groups - 1 risks; a risk equal to one falls below it), ``groups`` (those with a
        subject, lowest risk first, each with ``group`` from 1, ``n, deaths, time_days, survival, at_risk``) and
        ``log_rank``, as of `log_rank_test`.
    """
    cuts, place = _places(risk, groups)
    curves = {group: survival_curve(outcome.of(place == group)) for group in np.unique(place)}
    return {
        "cut_points": cuts.tolist(),
        "groups": [_plain_curve(int(group), curve) for group, curve in curves.items()],
        "log_rank": log_rank_test(place, outcome),
    }


def log_rank_test(group: npt.NDArray[np.integer], outcome: Outcome) -> dict[str, float] | None:
    """Return the log-rank test that the groups survive alike.

    Parameters
    ----------
    group : (n,) array
        A number for each group.
    outcome : Outcome
        Of the n subjects.

    Returns
    -------
    dict or None
        ``statistic`` (chi squared), ``degrees_of_freedom`` and ``p``; None where there is nothing to compare: one
        group, or nobody who died while members of two groups were followed up.

    References
    ----------
    Mantel, "Evaluation of survival data and two new rank order statistics arising in its consideration", 1966.
    """
    from scipy.stats import chi2

    member = group[:, None] == np.unique(group)
    times = np.unique(outcome.time_days[outcome.died])
    present = (outcome.time_days >= times[:, None]).astype(np.float64) @ member
    died = ((outcome.time_days == times[:, None]) & outcome.died).astype(np.float64) @ member
    total, deaths = present.sum(axis=1), died.sum(axis=1)
    share = present / total[:, None]
    excess = (died - deaths[:, None] * share).sum(axis=0)
    spread = deaths * (total - deaths) / np.maximum(total - 1, 1)
    covariance = np.diag(spread @ share) - (share * spread[:, None]).T @ share
    degrees = int(np.linalg.matrix_rank(covariance, hermitian=True)) if len(times) else 0
    if degrees == 0:
        return None
    statistic = float(excess @ np.linalg.pinv(covariance, hermitian=True) @ excess)
    return {"statistic": statistic, "degrees_of_freedom": degrees, "p": float(chi2.sf(statistic, degrees))}


def calibration(
    survival: npt.NDArray[np.float64], outcome: Outcome, horizon_days: float, groups: int = 5
) -> list[dict[str, Any]]:
    """Compare predicted with observed survival at a horizon, by group of predicted risk.

    Parameters
    ----------
    survival : (n,) array
        Predicted probability of living longer than the horizon, out of fold.
    outcome : Outcome
        Of the n subjects.
    horizon_days : float
        In days.
    groups : int
        Cut at the quantiles of 1 - `survival`.

    Returns
    -------
    list of dict
        Of the groups with a subject, lowest risk first: ``group`` from 1, ``n, deaths`` (by the horizon),
        ``predicted`` (mean), ``observed`` (Kaplan-Meier at the horizon; None where nobody was followed up so long) and
        its 95 % interval ``low, high`` (Greenwood's, on the scale log(-log); None where `observed` is None, 0 or 1).
    """
    _, place = _places(1 - survival, groups)
    rows = []
    for group in np.unique(place):
        chosen = outcome.of(place == group)
        observed, low, high = _survival_at(survival_curve(chosen), horizon_days)
        rows.append(
            {
                "group": int(group) + 1,
                "n": len(chosen),
                "deaths": int((chosen.died & (chosen.time_days <= horizon_days)).sum()),
                "predicted": float(survival[place == group].mean()),
                "observed": observed,
                "low": low,
                "high": high,
            }
        )
    return rows


def _places(risk: npt.NDArray[np.float64], groups: int) -> tuple[npt.NDArray, npt.NDArray]:
    cuts = np.quantile(risk, np.arange(1, groups) / groups)
    return cuts, np.searchsorted(cuts, risk, side="left")


def _plain_curve(group: int, curve: Curve) -> dict[str, Any]:
    return {
        "group": group + 1,
        "n": int(curve.at_risk[0]),
        "deaths": int(curve.events.sum()),
        "time_days": curve.time_days.tolist(),
        "survival": curve.share.tolist(),
        "at_risk": curve.at_risk.astype(int).tolist(),
    }


def _survival_at(curve: Curve, time_days: float) -> tuple[float | None, float | None, float | None]:
    share = float(curve.at(time_days))
    if curve.time_days[-1] < time_days and share > 0:
        return None, None, None
    if share in (0.0, 1.0):
        return share, None, None
    past = curve.time_days <= time_days
    events, at_risk = curve.events[past], curve.at_risk[past]
    deviation = np.sqrt((events / (at_risk * (at_risk - events))).sum()) / abs(np.log(share))
    low, high = share ** np.exp(np.array([1, -1]) * _Z_95 * deviation)
    return share, float(low), float(high)
