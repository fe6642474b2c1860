"""Which scans are of one person: the participants table's column `person`.

Scans of one person resemble each other as no two people do. They share a fold, are drawn together by a bootstrap, and
are never each other's negatives. A scan without a person named is a person of its own.

NumPy is imported where it is used: the Snakefile imports this module at every start.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

PERSON = "person"
"""The column's name."""


def persons_of(participant_ids: Iterable[str], cells: Iterable[str | None]) -> dict[str, str]:
    """Return participant id -> person, whose name is the first of the ids that are theirs.

    So what somebody is called in the table changes nothing and is written nowhere else.

    Parameters
    ----------
    participant_ids : iterable of str
    cells : iterable of str or None
        Of the column; empty or None where the scan is the only one of its person.
    """
    named = sorted((name, cell or name) for name, cell in zip(participant_ids, cells, strict=True))
    first: dict[str, str] = {}
    return {name: first.setdefault(cell, name) for name, cell in named}


def table_persons(participants: "pd.DataFrame") -> dict[str, str]:
    """Return participant id -> person of a validated participants table."""
    ids = participants["participant_id"]
    return persons_of(ids, participants.get(PERSON, [None] * len(ids)))


def are_shared(persons: Mapping[str, str]) -> bool:
    """Return whether anybody has several scans."""
    return any(name != person for name, person in persons.items())


def person_indices(persons: Sequence[str]) -> "npt.NDArray[np.int64]":
    """Return an index of each scan's person, (n,) int64: 0, 1, ... in the order of first appearance.

    Where every scan is of another person it counts up from 0, whatever their names.
    """
    import numpy as np

    place = {name: index for index, name in enumerate(dict.fromkeys(persons))}
    return np.array([place[name] for name in persons], np.int64)


def person_notes(task: str, persons: "npt.NDArray[np.int64]") -> list[str]:
    """Return what a table's footnote says where scans are of fewer persons, as `person_indices` counts them."""
    count = len(set(persons.tolist()))
    return [f"{task}: {len(persons)} scans of {count} persons."] if count < len(persons) else []


def person_faults(rows: Iterable[tuple[int, Mapping[str, str]]]) -> Iterator[str]:
    """Yield where a table names a person like another scan that names none: whether they are one nobody can tell.

    Parameters
    ----------
    rows : iterable of (int, mapping)
        Line in the file, and its cells.
    """
    rows = list(rows)
    unnamed = {cells.get("participant_id"): line for line, cells in rows if not cells.get(PERSON)}
    for line, cells in rows:
        name = cells.get(PERSON)
        if name and name in unnamed:
            yield (
                f"line {line}, {PERSON}: '{name}' is the participant_id of line {unnamed[name]}, which names no "
                f"{PERSON}; name it there too if they are one, or else choose another name"
            )
