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

PERSON = "person"
"""The column's name."""


def persons_of(participant_ids: Iterable[str], cells: Iterable[str | None]) -> dict[str, str]:
    """Return participant id -> person: what the cell of the column says or, where it is empty, the id itself."""
    return {name: cell or name for name, cell in zip(participant_ids, cells, strict=True)}


def are_shared(persons: Mapping[str, str]) -> bool:
    """Return whether anybody has several scans."""
    return len(set(persons.values())) < len(persons)


def person_indices(persons: Sequence[str]) -> "npt.NDArray[np.int64]":
    """Return an index of each scan's person, (n,) int64: 0, 1, ... in the order of first appearance.

    Where every scan is of another person it counts up from 0, whatever their names.
    """
    import numpy as np

    place = {name: index for index, name in enumerate(dict.fromkeys(persons))}
    return np.array([place[name] for name in persons], np.int64)


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
