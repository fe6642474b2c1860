"""Concordance of a risk with survival, truncated at a horizon, and the product-limit curves that it needs.

Two subjects are comparable where one died and the other was seen to live longer: followed up for more days, or for as
many and censored. A pair counts for a horizon if that death came before it. Risk is higher for the worse.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_BLOCK = 4_000_000  # pairs compared at once: about 64 MB


@dataclass(frozen=True)
class Outcome:
    """What became of n subjects.

    Attributes
    ----------
    time_days : (n,) float64 array
        From the scan to death or to the end of follow-up, in days.
    died : (n,) bool array
        Whether the follow-up ended with death; else it was censored.
    """

    time_days: npt.NDArray[np.float64]
    died: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.time_days.ndim != 1 or self.time_days.shape != self.died.shape or self.died.dtype != bool:
            raise ValueError(f"time_days {self.time_days.shape} and died {self.died.shape} must be (n,), died bool")
        if not np.isfinite(self.time_days).all():
            raise ValueError("time_days must be finite")

    def __len__(self) -> int:
        return len(self.time_days)

    def of(self, chosen: npt.NDArray) -> "Outcome":
        """Return the outcome of the chosen subjects, a mask or indices."""
        return Outcome(self.time_days[chosen], self.died[chosen])


@dataclass(frozen=True)
class Curve:
    """A product-limit curve: 1 at first, then a step at each of m distinct times.

    Attributes
    ----------
    time_days : (m,) float64 array
        Ascending, in days.
    share : (m,) float64 array
        Share still without the event from that time on (right-continuous), 1 to 0.
    events, at_risk : (m,) float64 array
        Subjects with the event at that time, and those who could have had it.
    """

    time_days: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    events: npt.NDArray[np.float64]
    at_risk: npt.NDArray[np.float64]

    def at(self, time_days: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the share at the given times; beyond the last step it stays as it is."""
        return np.concatenate([[1.0], self.share])[np.searchsorted(self.time_days, time_days, side="right")]


def survival_curve(outcome: Outcome) -> Curve:
    """Return the Kaplan-Meier estimate of survival."""
    times, deaths, leaving, present = _counts(outcome)
    return Curve(times, np.cumprod(1 - deaths / present), deaths, present)


def censoring_curve(outcome: Outcome) -> Curve:
    """Return the product-limit estimate of staying uncensored; of equal times, deaths come before censoring."""
    times, deaths, leaving, present = _counts(outcome)
    censored, exposed = leaving - deaths, present - deaths
    hazard = np.divide(censored, exposed, out=np.zeros_like(exposed), where=exposed > 0)
    return Curve(times, np.cumprod(1 - hazard), censored, exposed)


def uno_weights(time_days: npt.NDArray[np.float64], training: Outcome) -> npt.NDArray[np.float64]:
    """Return Uno's weight of a death at each time, 1 / G(t)^2, G the censoring curve of the training subjects.

    Parameters
    ----------
    time_days : (n,) array
        Days of follow-up of the subjects to be judged.
    training : Outcome
        Of the subjects that G is estimated from.

    Returns
    -------
    (n,) float64 array
        NaN where G is 0: nobody was followed up for so long, and no weight makes up for it.

    References
    ----------
    Uno et al., "On the C-statistics for evaluating overall adequacy of risk prediction procedures with censored
    survival data", Statistics in Medicine 30, 2011, equation 6.
    """
    uncensored = censoring_curve(training).at(time_days)
    return np.divide(1.0, uncensored**2, out=np.full_like(uncensored, np.nan), where=uncensored > 0)


def concordance(
    risk: npt.NDArray[np.float64],
    outcome: Outcome,
    horizons_days: npt.ArrayLike,
    weights: npt.NDArray[np.float64] | None = None,
    draws: npt.NDArray | None = None,
) -> npt.NDArray[np.float64]:
    """Return the weighted share of comparable pairs in which the one who died first has the higher risk.

    Equal risks count one half. 0.5 is chance, 1 perfect.

    Parameters
    ----------
    risk : (n,) array
        Higher is worse, any unit.
    outcome : Outcome
        Of the n subjects.
    horizons_days : (H,) array
        Pairs count whose first death came before the horizon.
    weights : (n,) array, optional
        Of the pairs by the subject who died first: `uno_weights` give Uno's, none give Harrell's concordance.
    draws : (R, n) array, optional
        How often each subject counts in each of R resamples; by default once, R = 1.

    Returns
    -------
    (R, H) float64 array
        NaN without a comparable pair, or where a weight is NaN.

    Raises
    ------
    ValueError
        If the risk is not finite, or the arrays differ in length.

    References
    ----------
    Harrell et al., "Multivariable prognostic models", Statistics in Medicine 15, 1996; Uno et al., 2011.
    """
    if risk.shape != (len(outcome),) or not np.isfinite(risk).all():
        raise ValueError(f"risk {risk.shape} must be ({len(outcome)},) and finite")
    weights = np.ones(len(risk)) if weights is None else weights
    # Counts of half pairs are exact in float32 for more subjects than any cohort has.
    draws = np.ones((1, len(risk)), np.float32) if draws is None else draws.astype(np.float32)
    horizons = np.atleast_1d(np.asarray(horizons_days, dtype=np.float64))
    first_deaths = np.flatnonzero(outcome.died & (outcome.time_days < horizons.max()))
    sums = np.zeros((2, len(draws), len(horizons)))
    for block in np.array_split(first_deaths, 1 + len(first_deaths) * len(risk) // _BLOCK):
        counted = np.where(outcome.time_days[block, None] < horizons, weights[block, None], 0.0)
        for total, pairs in zip(sums, _pairs(risk, outcome, block), strict=True):
            total += (draws[:, block] * (draws @ pairs.T)).astype(np.float64) @ counted
    concordant, comparable = sums
    return np.divide(concordant, comparable, out=np.full_like(comparable, np.nan), where=comparable > 0)


def _pairs(risk: npt.NDArray, outcome: Outcome, first: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Return (len(first), n) float32 arrays: pairs in the right order (a tie is half), and comparable pairs."""
    time, died = outcome.time_days, outcome.died
    longer = (time > time[first, None]) | ((time == time[first, None]) & ~died)
    comparable = longer.astype(np.float32)
    above, tied = risk[first, None] > risk, risk[first, None] == risk
    return comparable * (above + np.float32(0.5) * tied), comparable


def _counts(outcome: Outcome) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
    """Return the distinct times, and at each the deaths, the subjects whose follow-up ends, and those still there."""
    times, place = np.unique(outcome.time_days, return_inverse=True)
    deaths = np.bincount(place, outcome.died, minlength=len(times))
    leaving = np.bincount(place, minlength=len(times)).astype(np.float64)
    return times, deaths, leaving, np.cumsum(leaving[::-1])[::-1]
