"""The cross-validation folds of a cohort, by subject."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from drasclr_core.errors import InputError
from drasclr_core.io import atomic_path


def assign_folds(participant_ids: Iterable[str], folds: int, seed: int) -> dict[str, int]:
    """Deal the participants of a cohort into folds of equal size, give or take one.

    Pass *all* participants of the cohort, also the excluded: then the folds depend on the participants table and the
    seed alone, and no exclusion, label or method moves anybody.

    Parameters
    ----------
    participant_ids : iterable of str
        In any order.
    folds : int
        At least 2.
    seed : int
        Of the permutation of the sorted ids.

    Returns
    -------
    dict
        Participant id -> fold, 0 to `folds` - 1, sorted by id.

    Raises
    ------
    InputError
        If an id stands twice, or there are fewer participants than folds.
    """
    ids = sorted(participant_ids)
    if len(set(ids)) != len(ids):
        raise InputError("A participant id stands twice: folds are by subject, make the ids unique.")
    if not 2 <= folds <= len(ids):
        raise InputError(
            f"evaluation.folds is {folds}, but must be from 2 to the {len(ids)} participants of the cohort."
        )
    order = np.random.default_rng(seed).permutation(len(ids))
    fold_of = {ids[index]: place % folds for place, index in enumerate(order)}
    return dict(sorted(fold_of.items()))


def write_folds(folds: Mapping[str, int], path: str | Path) -> None:
    """Write the folds as a tab-separated table with the columns participant_id and fold."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([("participant_id", "fold"), *folds.items()])


def read_folds(path: str | Path) -> dict[str, int]:
    """Return participant id -> fold from a table of `write_folds`."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {row["participant_id"]: int(row["fold"]) for row in csv.DictReader(file, delimiter="\t")}
