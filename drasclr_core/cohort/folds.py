"""The cross-validation folds of a cohort, by person."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from drasclr_core.base.errors import DamagedError, InputError
from drasclr_core.base.tables import read_rows, write_rows

_COLUMNS = ("participant_id", "fold")


def assign_folds(
    participant_ids: Iterable[str], folds: int, seed: int, persons: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Deal the participants of a cohort into folds of equal size, all scans of a person into one.

    Pass *all* participants of the cohort, also the excluded: then the folds depend on the participants table and the
    seed alone, and no exclusion, label or method moves anybody.

    Whoever has the most scans is dealt first, equals in random order, each to the fold that has the fewest scans so
    far, of several the first. So where everybody has one scan the sizes differ by one at most.

    Parameters
    ----------
    participant_ids : iterable of str
        In any order.
    folds : int
        At least 2.
    seed : int
        Of the permutation of the persons, sorted by the first of their ids.
    persons : mapping, optional
        Participant id -> person. By default everybody is their own.

    Returns
    -------
    dict
        Participant id -> fold, 0 to `folds` - 1, sorted by id.

    Raises
    ------
    InputError
        If an id stands twice, or there are fewer persons than folds.
    """
    ids = sorted(participant_ids)
    if len(set(ids)) != len(ids):
        raise InputError("A participant id stands twice: folds are by subject, make the ids unique.")
    scans: dict[str, list[str]] = {}
    for name in ids:
        scans.setdefault(persons[name] if persons else name, []).append(name)
    if not 2 <= folds <= len(scans):
        who = f"{len(ids)} participants" if len(scans) == len(ids) else f"{len(scans)} persons"
        raise InputError(f"evaluation.folds is {folds}, but must be from 2 to the {who} of the cohort.")
    owned = list(scans.values())
    order = np.random.default_rng(seed).permutation(len(owned))
    sizes = [0] * folds
    fold_of = {}
    for index in sorted(order, key=lambda index: -len(owned[index])):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(owned[index])
        fold_of.update(dict.fromkeys(owned[index], fold))
    return dict(sorted(fold_of.items()))


def write_folds(folds: Mapping[str, int], path: str | Path) -> None:
    """Write the folds as a tab-separated table with the columns participant_id and fold."""
    write_rows(path, _COLUMNS, folds.items())


def read_folds(path: str | Path) -> dict[str, int]:
    """Return participant id -> fold from a table of `write_folds`."""
    rows = read_rows(path, _COLUMNS)
    if wrong := [row["fold"] for row in rows if not row["fold"].isdecimal()]:
        raise DamagedError(path, f"'{wrong[0]}' is no fold")
    return {row["participant_id"]: int(row["fold"]) for row in rows}
