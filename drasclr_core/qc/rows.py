"""What the quality control says of a subject, and how it goes from the job that draws to the one that sorts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from drasclr_core.base.files import read_json, write_json

SUBJECTS = "subjects.json"


@dataclass(frozen=True)
class SubjectRow:
    """What the page says of a subject.

    Attributes
    ----------
    participant_id : str
    picture : str or None
        The picture's file, relative to what is read or shown.
    size_px : (int, int)
        Its width and height.
    note : str or None
        Why there is no picture, unless it is for the reason of the exclusion.
    warnings : list of str
        Of the stages.
    measures : dict
        volume_l, right_l, left_l, laa950_pct, mean_hu, dice, determinant, shift_mm, rotation_deg, inside_pct (landmarks
        inside the scan), voxel_mm (longest edge of the scan's voxels): as many as are known.
    """

    participant_id: str
    picture: str | None = None
    size_px: tuple[int, int] = (0, 0)
    note: str | None = None
    warnings: list[str] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)


def write_rows(folder: Path, rows: Sequence[SubjectRow]) -> None:
    """Write the rows of the subjects whose pictures lie in a folder."""
    write_json(folder / SUBJECTS, [asdict(row) for row in rows])


def read_rows(folder: str | Path, beside: str | Path) -> list[SubjectRow]:
    """Return the rows of a folder, their pictures as paths relative to the folder of a page."""
    prefix = Path(folder).relative_to(Path(beside).parent)
    rows = [
        SubjectRow(**{**content, "size_px": tuple(content["size_px"])})
        for content in read_json(Path(folder) / SUBJECTS)
    ]
    return [replace(row, picture=(prefix / row.picture).as_posix()) if row.picture else row for row in rows]
