"""Who stays in a cohort, who leaves it, and whether too many do."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from drasclr_core.base.errors import QualityError
from drasclr_core.base.files import read_record
from drasclr_core.base.tables import read_rows, write_rows

logger = logging.getLogger(__name__)

INCLUDED_COLUMNS = ("participant_id",)
EXCLUSION_COLUMNS = ("participant_id", "stage", "reason")


def collect_subjects(folders: Iterable[str | Path], included: str | Path, exclusions: str | Path) -> None:
    """Write who is included and who is not, and why, from the records of the last per-subject stage.

    Parameters
    ----------
    folders : iterable of paths
        One folder per participant, in the order to keep.
    included : path
        Table to write: participant_id.
    exclusions : path
        Table to write: participant_id, stage (the one that excluded it, or ``table``), reason.
    """
    records = [read_record(folder) for folder in folders]
    write_rows(included, INCLUDED_COLUMNS, [(r.participant_id,) for r in records if not r.excluded])
    excluded = [(r.participant_id, r.excluded_by, r.reason) for r in records if r.excluded]
    write_rows(exclusions, EXCLUSION_COLUMNS, excluded)
    logger.info("%d included, %d excluded", len(records) - len(excluded), len(excluded))


def read_included(path: str | Path) -> list[str]:
    """Return the included participants' ids in their order."""
    return [row["participant_id"] for row in read_rows(path, INCLUDED_COLUMNS)]


def read_exclusions(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of an exclusions table: participant_id, stage, reason."""
    return read_rows(path, EXCLUSION_COLUMNS)


def check_exclusions(included: str | Path, exclusions: str | Path, max_excluded_fraction: float) -> dict[str, Any]:
    """Return the cohort's flow: how many entered, stayed, and were excluded by which stage.

    Raises
    ------
    QualityError
        If nobody stays, or the stages exclude more than `max_excluded_fraction` of those whom the table does not.
    """
    stayed, excluded = len(read_included(included)), read_exclusions(exclusions)
    entered = stayed + len(excluded)
    stages = dict(sorted(Counter(row["stage"] for row in excluded).items()))
    if not stayed:
        raise QualityError(
            f"{entered} of {entered} participants are excluded ({stages}), nobody is left: see {exclusions}."
        )
    by_table = stages.get("table", 0)  # somebody's own decision: nothing to stop for
    unusable, tried = len(excluded) - by_table, entered - by_table
    if unusable > max_excluded_fraction * tried:
        raise QualityError(
            f"{unusable} of {tried} participants are excluded ({stages}; those of the table do not count), more than "
            f"preprocess.max_excluded_fraction ({max_excluded_fraction:g}) allows: see {exclusions}, or look at them "
            "(`snakemake qc`); mend the scans, name the hopeless ones in the column exclude_reason, or raise the "
            "fraction."
        )
    return {"entered": entered, "included": stayed, "excluded": len(excluded), "excluded_by_stage": stages}
