"""How many scans each stage took in, left out and passed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drasclr_core.base.files import read_json
from drasclr_core.cohort.flow import read_exclusions

STAGES = ("table", "ingest", "segment", "register", "patches")
"""Stages that can exclude a participant, in running order; `table` is the column exclude_reason."""

LISTED = 50
"""Exclusions listed one by one; a large cohort's others are counted."""


@dataclass(frozen=True)
class FlowStep:
    """One stage: scans in, excluded by it, left after it."""

    stage: str
    entered: int
    excluded: int

    @property
    def left(self) -> int:
        """Scans that the stage passed on."""
        return self.entered - self.excluded


@dataclass(frozen=True)
class CohortFlow:
    """The way of one cohort to one atlas; `path` is the table of all exclusions."""

    cohort: str
    atlas: str
    entered: int
    steps: Sequence[FlowStep]
    exclusions: Sequence[Mapping[str, str]]
    unlisted: int
    path: str
    landmarks: int

    @property
    def included(self) -> int:
        """Scans left after the last stage."""
        return self.steps[-1].left

    @property
    def excluded(self) -> int:
        """Scans that left at any stage."""
        return self.entered - self.included


def read_flow(flow: str | Path, exclusions: str | Path, landmarks: str | Path) -> CohortFlow:
    """Return a cohort's flow from the files of the rules check_exclusions, collect_subjects and lay_landmarks.

    Parameters
    ----------
    flow : path
        ``results/{cohort}/{atlas}/cohort_flow.json``, which gives the names for the heading.
    exclusions, landmarks : paths
        ``exclusions.tsv`` and ``landmarks.json``.
    """
    cohort, atlas = Path(flow).parts[-3:-1]
    entered: int = read_json(flow)["entered"]
    rows = read_exclusions(exclusions)
    names = [*STAGES, *sorted({row["stage"] for row in rows} - set(STAGES))]
    steps = []
    remaining = entered
    for name in names:
        steps.append(FlowStep(name, remaining, sum(row["stage"] == name for row in rows)))
        remaining = steps[-1].left
    listed = sorted(rows, key=lambda row: (names.index(row["stage"]), row["participant_id"]))[:LISTED]
    count = len(read_json(landmarks)["points_mm"])
    return CohortFlow(cohort, atlas, entered, steps, listed, len(rows) - len(listed), str(exclusions), count)
