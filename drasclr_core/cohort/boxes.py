"""The annotated boxes of emphysema, and the healthy places they are compared with.

The Snakefile imports this module at every start: it loads no arrays and no images. Points are (x, y, z) in LPS mm.
"""

import logging
import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drasclr_core.base.documents import raise_faults
from drasclr_core.cohort.lines import Line, read_table_lines
from drasclr_core.cohort.table import BOX_COLUMNS

logger = logging.getLogger(__name__)

SUBTYPES = ("centrilobular", "paraseptal")
HEALTHY = "healthy"
WITHOUT_ENCODER = ("laa950", "no_image", "histogram")
"""Methods whose runs detect emphysema in a window without an encoder: `windows.plain_values`."""

_SOUND = ("gold", "cle", "paraseptal")  # all 0 in a healthy subject


@dataclass(frozen=True)
class Box:
    """A cube of `table.BOX_SIZE_MM`: whose, of which of `SUBTYPES` or `HEALTHY`, and its centre (x, y, z) in mm."""

    participant_id: str
    subtype: str
    centre_mm: tuple[float, float, float]


def read_boxes(path: str | Path) -> list[Box]:
    """Read a table of annotated boxes.

    Parameters
    ----------
    path : path
        A ``.tsv`` or ``.csv`` file with the columns `BOX_COLUMNS`; others are ignored. A table without lines is none
        of a fault: nobody was annotated.

    Raises
    ------
    InputError
        Naming every fault at once: line, column, value and what is allowed.
    """
    lines, faults = read_table_lines(path, "table of boxes (cohorts.*.boxes)")
    columns = lines[0][1] if lines else []
    if lines or not faults:
        faults += [f"header: column '{column}' is missing" for column in BOX_COLUMNS if column not in columns]
    if set(BOX_COLUMNS) <= set(columns):
        faults += [fault for line in lines[1:] for fault in _row_faults(line, columns)]
    raise_faults(str(path), faults)
    return [_box(dict(zip(columns, cells, strict=True))) for _, cells in lines[1:]]


def healthy_ids(participants: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return who is healthy: spirometry of GOLD 0, and neither subtype of emphysema seen; sorted, without the excluded.

    Parameters
    ----------
    participants : iterable of mappings
        Rows of the participants table, cells as text or numbers. Who lacks one of the three labels is not known to be
        healthy.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.3.1.
    """
    included = (row for row in participants if not row.get("exclude_reason"))
    return sorted(row["participant_id"] for row in included if all(_is_zero(row.get(name)) for name in _SOUND))


def choose_healthy(healthy: Iterable[str], annotated: Collection[str], seed: int) -> list[str]:
    """Choose at random as many healthy subjects as were annotated, or all if there are fewer; none of the annotated.

    Parameters
    ----------
    healthy : iterable of str
        As `healthy_ids` gives them.
    annotated : collection of str
        Subjects with a box: whatever their grades, somebody saw emphysema.
    seed : int
        Of the choice.

    Returns
    -------
    list of str
        In random order.
    """
    ids = sorted(set(healthy) - set(annotated))
    return random.Random(seed).sample(ids, min(len(annotated), len(ids)))


def deal_places(ids: Sequence[str], count: int) -> list[str]:
    """Return whose each of `count` healthy places is, in rounds, so that any first part is spread evenly."""
    return [ids[place % len(ids)] for place in range(count)] if ids else []


def box_voxels(size_mm: float, spacing_mm: float) -> int:
    """Return the edge of a box in voxels, 1 or more."""
    return max(1, round(size_mm / spacing_mm))


def usable_boxes(
    boxes: Sequence[Box], included: Iterable[str], participants: Iterable[str]
) -> tuple[list[Box], list[str]]:
    """Part the boxes into those whose subject is in the cohort, and sentences that say why the others are not used."""
    included, known = set(included), set(participants)
    used = [box for box in boxes if box.participant_id in included]
    left_out = {box.participant_id: 0 for box in boxes if box.participant_id not in included}
    for box in boxes:
        if box.participant_id in left_out:
            left_out[box.participant_id] += 1
    reasons = [
        f"{count} boxes of {name}, who {'was excluded' if name in known else 'is not in the participants table'}"
        for name, count in left_out.items()
    ]
    return used, reasons


def _is_zero(cell: Any) -> bool:
    # The Snakefile asks before the table is checked: a cell that is no number is no 0.
    return cell is not None and _is_finite(str(cell)) and float(cell) == 0.0


def _row_faults(numbered: Line, columns: list[str]) -> Iterator[str]:
    line, cells = numbered
    if len(cells) != len(columns):
        yield f"line {line}: {len(cells)} cells where the header has {len(columns)}"
        return
    row = dict(zip(columns, cells, strict=True))
    if row["subtype"] not in SUBTYPES:
        yield f"line {line}, subtype: '{row['subtype']}' is not one of {', '.join(SUBTYPES)}"
    if not row["participant_id"]:
        yield f"line {line}, participant_id: empty; say whose box it is"
    for column in BOX_COLUMNS[2:]:
        if not _is_finite(row[column]):
            yield f"line {line}, {column}: '{row[column]}' is not a number (LPS millimetres of the scan)"


def _is_finite(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _box(row: Mapping[str, str]) -> Box:
    x, y, z = (float(row[column]) for column in BOX_COLUMNS[2:])
    return Box(row["participant_id"], row["subtype"], (x, y, z))
