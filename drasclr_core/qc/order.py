"""Which scans a person should look at first."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from drasclr_core.qc.rows import SubjectRow

EXCLUDED_FIRST = ("ingest", "segment", "register", "patches", "table")
"""Stages in the order in which the page shows what they excluded: `table`, a person's own decision, last."""

_MAD_TO_SD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Measure:
    """A figure whose distance from the cohort's median is told.

    Attributes
    ----------
    name : str
    value : function
        Of a subject's measures.
    least_spread : float
        Taken as the cohort's spread where that is smaller: lesser differences mean nothing.
    low_only : bool
        Whether only values below the median are odd.
    """

    name: str
    value: Callable[[Mapping[str, float]], float]
    least_spread: float
    low_only: bool = False


MEASURES = (
    Measure("Dice", lambda found: found["dice"], 0.005, low_only=True),
    Measure("determinant", lambda found: math.log(found["determinant"]), 0.05),
    Measure("volume", lambda found: math.log(found["volume_l"]), 0.05),
    Measure("right to left", lambda found: math.log(found["right_l"] / found["left_l"]), 0.05),
    Measure("mean HU", lambda found: found["mean_hu"], 5.0),
    Measure("landmarks inside", lambda found: found["inside_pct"], 0.5, low_only=True),
)


@dataclass(frozen=True)
class Entry:
    """A row of the page.

    Attributes
    ----------
    row : SubjectRow
    stage, reason : str or None
        Of the exclusion.
    deviation : float or None
        How far the subject's oddest measure is from the median of those included, in robust standard deviations.
    oddest : str
        That measure, with "low" or "high".
    """

    row: SubjectRow
    stage: str | None = None
    reason: str | None = None
    deviation: float | None = None
    oddest: str = ""


def worst_first(rows: Sequence[SubjectRow], exclusions: Mapping[str, tuple[str, str]]) -> list[Entry]:
    """Return all subjects: the excluded by stage, then those with warnings, each and the rest by their deviation.

    Parameters
    ----------
    rows : sequence of SubjectRow
    exclusions : mapping
        Participant id -> stage and reason, of those excluded.
    """
    included = [row.measures for row in rows if row.participant_id not in exclusions]
    scales = {measure.name: _scale(measure, included) for measure in MEASURES}
    entries = [_entry(row, exclusions.get(row.participant_id, (None, None)), scales) for row in rows]
    return sorted(entries, key=_rank)


def _entry(
    row: SubjectRow, exclusion: tuple[str | None, str | None], scales: Mapping[str, tuple[float, float]]
) -> Entry:
    deviation, oddest = max(
        (_deviation(measure, row.measures, scales[measure.name]) for measure in MEASURES), key=lambda pair: pair[0]
    )
    return Entry(row, *exclusion, deviation if deviation >= 0 else None, oddest)


def _deviation(measure: Measure, found: Mapping[str, float], scale: tuple[float, float]) -> tuple[float, str]:
    value, (middle, spread) = _value(measure, found), scale
    if value is None or math.isnan(middle):
        return -1.0, ""
    side = "low" if value < middle else "high"
    distance = 0.0 if measure.low_only and side == "high" else abs(value - middle) / spread
    return distance, f"{measure.name} {side}" if distance else ""


def _scale(measure: Measure, cohort: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return median and spread of a measure; NaN if nobody has it."""
    values = [value for found in cohort if (value := _value(measure, found)) is not None]
    if not values:
        return math.nan, math.nan
    middle = median(values)
    spread = _MAD_TO_SD * median(abs(value - middle) for value in values)
    return middle, max(spread, measure.least_spread)


def _value(measure: Measure, found: Mapping[str, float]) -> float | None:
    try:
        return measure.value(found)
    except (KeyError, ValueError, ZeroDivisionError):  # not measured, or the logarithm of nothing
        return None


def _rank(entry: Entry) -> tuple[bool, int, bool, float, str]:
    stage = EXCLUDED_FIRST.index(entry.stage) if entry.stage in EXCLUDED_FIRST else len(EXCLUDED_FIRST)
    return entry.stage is None, stage, not entry.row.warnings, -(entry.deviation or 0.0), entry.row.participant_id
