"""One page of a cohort's pictures, worst first, that a person can go through in minutes.

The pictures lie beside it and are read as they come into view: within the page, a thousand would be too much to open.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from drasclr_core.base.version import __version__
from drasclr_core.qc.canvas import HUES
from drasclr_core.qc.order import EXCLUDED_FIRST, MEASURES, worst_first
from drasclr_core.qc.picture import PX_PER_SHOWN, WINDOW_HU
from drasclr_core.qc.rows import SubjectRow
from drasclr_core.report.page import render_page


@dataclass(frozen=True)
class Column:
    """A column of the page: how it is sorted at first, and, of a measure, which one and its decimals."""

    title: str
    help: str
    first: Literal["ascending", "descending", "text"]
    measure: str | None = None
    decimals: int = 0

    @property
    def number(self) -> bool:
        """Whether it is set flush right."""
        return self.measure is not None


COLUMNS = (
    Column("worst", "Order at first: worst first", "ascending"),
    Column("participant", "Participant id", "text"),
    Column("state", "Included, or the stage that excluded it and why", "text"),
    Column("deviation", "Of the oddest measure from the cohort's median, robust standard deviations", "descending"),
    Column("lungs l", "Lung volume, litres", "ascending", "volume_l", 2),
    Column("right l", "Volume of the right lung, litres", "ascending", "right_l", 2),
    Column("left l", "Volume of the left lung, litres", "ascending", "left_l", 2),
    Column("LAA-950 %", "Share of the lungs below -950 HU, percent", "descending", "laa950_pct", 1),
    Column("mean HU", "Mean density of the lungs", "descending", "mean_hu"),
    Column("Dice", "Overlap with the atlas after registration", "ascending", "dice", 3),
    Column(
        "determ.",
        "Volume of the subject over that of the atlas, by the registration",
        "descending",
        "determinant",
        2,
    ),
    Column("shift mm", "Between the two lungs' centres after registration", "descending", "shift_mm", 1),
    Column("turn °", "Rotation of the registration", "descending", "rotation_deg", 1),
    Column("inside %", "Landmarks inside the scan, percent", "ascending", "inside_pct", 1),
    Column("voxel mm", "Longest edge of the scan's voxels", "descending", "voxel_mm", 2),
)


def render_qc(
    title: str,
    rows: Sequence[SubjectRow],
    exclusions: Iterable[Mapping[str, str]],
    *,
    date: str,
    config_hash: str,
    atlas: str | None = None,
) -> str:
    """Return the page: HTML5 with its own style and a few lines of script, without which it is in its first order.

    Parameters
    ----------
    title : str
    rows : sequence of SubjectRow
        All subjects, their pictures relative to the page.
    exclusions : iterable of mappings
        participant_id, stage, reason, of those excluded.
    date : str
        Of the page.
    config_hash : str
        Of the settings that decide what is on it.
    atlas : str, optional
        The participant that is the atlas, whose row is marked.
    """
    excluded = {row["participant_id"]: (row["stage"], row["reason"]) for row in exclusions}
    entries = worst_first(rows, excluded)
    counts = Counter(entry.stage for entry in entries if entry.stage)
    return render_page(
        "qc.html.j2",
        title=title,
        date=date,
        version=__version__,
        config_hash=config_hash,
        atlas=atlas,
        px_per_shown=PX_PER_SHOWN,
        entries=entries,
        included=sum(entry.stage is None for entry in entries),
        stages=sorted(counts.items(), key=lambda item: (*EXCLUDED_FIRST, item[0]).index(item[0])),
        oddities=[measure.name for measure in MEASURES],
        columns=COLUMNS,
        cells=cells,
        hues={name: "rgb({}, {}, {})".format(*rgb) for name, rgb in HUES.items()},
        window=[round(end) for end in WINDOW_HU],
    )


def cells(row: SubjectRow) -> list[str]:
    """Return the text of each measure's column; empty where it is not known."""
    measured = [(column, row.measures.get(column.measure)) for column in COLUMNS if column.measure]
    return ["" if value is None else f"{value:.{column.decimals}f}" for column, value in measured]
