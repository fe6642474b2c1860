"""Patches of other people that a run's features call most alike, and which patches are asked about."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def choose_queries(order: Floats, quantiles: Sequence[float]) -> list[tuple[int, int]]:
    """Return the patches at the quantiles of a value, as (subject, landmark); of equal values the first subject's.

    Parameters
    ----------
    order : (N, L) array
        A value of each patch; NaN of those that are not to be asked about.
    quantiles : sequence of float
        Each from 0, the patch of the least value, to 1.
    """
    patches = np.argwhere(np.isfinite(order))
    ranked = patches[np.argsort(order[tuple(patches.T)], kind="stable")]
    chosen = [ranked[round(quantile * (len(ranked) - 1))] for quantile in quantiles]
    return [(int(subject), int(landmark)) for subject, landmark in chosen]


def median_subject(shares: Floats) -> int | None:
    """Return the subject of the median share, (N,), among those above 0, the upper of two; None without any."""
    diseased = np.flatnonzero(shares > 0)
    ranked = diseased[np.argsort(shares[diseased], kind="stable")]
    return int(ranked[len(ranked) // 2]) if len(ranked) else None


def unit_features(features: npt.NDArray[np.floating], usable: Mask) -> Floats:
    """Return the features of one landmark, (N, D), less their mean over the usable, each of length 1 (or 0)."""
    centred = features.astype(np.float64) - features[usable].mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def nearest_of_others(
    units: Floats, subject: int, persons: npt.NDArray[np.int64], usable: Mask, count: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return who of other persons is most like a subject at one landmark, nearest first, and the cosine similarities.

    Parameters
    ----------
    units : (N, D) array
        As of `unit_features`.
    subject : int
        Who is asked about.
    persons : (N,) int array
        Whose scan each is.
    usable : (N,) bool array
        Whose patches may be found.
    count : int
        How many; fewer where there are fewer. Of equals the first.
    """
    others = np.flatnonzero(usable & (persons != persons[subject]))
    similarity = units[others] @ units[subject]
    first = np.argsort(-similarity, kind="stable")[:count]
    return others[first], similarity[first]


def mean_difference(
    features: npt.NDArray[np.floating], share: Floats, persons: npt.NDArray[np.int64], count: int
) -> float:
    """Return by how much a patch's share differs from those of its `count` nearest, on average over all patches.

    Parameters
    ----------
    features : (N, L, D) array
    share : (N, L) array
        NaN where it is not known: such a patch neither asks nor is found.
    persons : (N,) int array
    count : int
        With N, of all patches of others at the landmark.
    """
    differences = []
    for landmark in range(share.shape[1]):
        here = share[:, landmark]
        usable = np.isfinite(here)
        units = unit_features(features[:, landmark], usable)
        for subject in np.flatnonzero(usable):
            found, _ = nearest_of_others(units, subject, persons, usable, count)
            if len(found):
                differences.append(np.abs(here[found] - here[subject]).mean())
    return float(np.mean(differences))
