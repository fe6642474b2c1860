"""Draw many subjects, and note the figures by which they are sorted; a scan that cannot be drawn stops none."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import centres_inside, patch_starts
from drasclr_core.atlas.registration import read_transform
from drasclr_core.base.errors import InputError, QualityError, is_machine_fault
from drasclr_core.base.files import LUNGS, TRANSFORM, atomic_directory, read_json, read_record
from drasclr_core.qc.picture import Atlas, Seen, draw_subject
from drasclr_core.qc.rows import SubjectRow, write_rows
from drasclr_core.scan.images import read_ct, read_image

logger = logging.getLogger(__name__)

_UNREAD = ("table", "ingest")  # stages that exclude what cannot, or shall not, be read
_TOLD_EVERY_S = 10.0


@dataclass(frozen=True)
class SubjectFiles:
    """Where a subject's scan is, and the folders of two of its stages."""

    participant_id: str
    scan: Path
    segment: Path
    register: Path


MEASURED = {
    "volume_l": ("segment", "lung_l"),
    "right_l": ("segment", "right_lung_l"),
    "left_l": ("segment", "left_lung_l"),
    "laa950_pct": ("segment", "laa950_pct"),
    "mean_hu": ("segment", "mean_lung_hu"),
    "dice": ("register", "dice"),
    "determinant": ("register", "determinant"),
    "shift_mm": ("register", "centroid_distance_mm"),
    "rotation_deg": ("register", "rotation_deg"),
}
"""Measure -> stage and its metric; the other two are measured here."""


def read_atlas(mask: str | Path, landmarks: str | Path) -> Atlas:
    """Return an atlas from the files of the rules make_atlas and lay_landmarks, or of a model folder."""
    return Atlas(read_image(mask), LandmarkGrid.from_json(read_json(landmarks)))


def draw_subjects(subjects: Iterable[SubjectFiles], atlas: Atlas, folder: str | Path) -> list[SubjectRow]:
    """Write a picture of each subject, ``{id}.png``, and what is to be said of them all, ``subjects.json``.

    The scan itself is drawn, which stays where resampled volumes are temporary, under the lung mask found on them.

    Parameters
    ----------
    subjects : iterable of SubjectFiles
    atlas : Atlas
    folder : path
        To write, whole.
    """
    rows, told = [], time.monotonic()
    with atomic_directory(folder) as partial:
        for subject in subjects:
            rows.append(_draw(subject, atlas, partial))
            if time.monotonic() - told > _TOLD_EVERY_S:
                told = time.monotonic()
                logger.info("%d subjects drawn", len(rows))
        write_rows(partial, rows)
    return rows


def see(scan: str | Path, segment: Path, register: Path) -> Seen:
    """Read what there is of a subject: its scan, and of the folders of two stages the files that they hold."""
    lungs, transform = segment / LUNGS, register / TRANSFORM
    return Seen(
        read_ct(scan),
        read_image(lungs) if lungs.exists() else None,
        read_transform(transform) if transform.exists() else None,
    )


def _draw(subject: SubjectFiles, atlas: Atlas, folder: Path) -> SubjectRow:
    records = {"segment": read_record(subject.segment), "register": read_record(subject.register)}
    found = {
        name: float(records[stage].metrics[metric])
        for name, (stage, metric) in MEASURED.items()
        if metric in records[stage].metrics
    }
    warnings = [warning for record in records.values() for warning in record.metrics.get("warnings", [])]
    row = SubjectRow(subject.participant_id, warnings=warnings, measures=found)
    if records["segment"].excluded_by in _UNREAD:
        return row
    try:
        seen = see(subject.scan, subject.segment, subject.register)
        row = replace(row, measures={**found, **_measure(seen, atlas)})
        image = draw_subject(seen, atlas)
    except Exception as error:
        if is_machine_fault(error) or isinstance(error, MemoryError):
            raise
        logger.exception("%s cannot be drawn", subject.participant_id)
        known = isinstance(error, (InputError, QualityError))
        note = str(error) if known else f"{type(error).__name__}: {error}"
        return replace(row, note=note)
    name = f"{subject.participant_id}.png"
    image.save(folder / name)
    return replace(row, picture=name, size_px=image.size)


def _measure(seen: Seen, atlas: Atlas) -> dict[str, float]:
    found = {"voxel_mm": max(seen.ct.GetSpacing())}
    if seen.lungs is not None and seen.transform is not None:
        starts = patch_starts(atlas.grid, seen.transform, seen.lungs)
        inside = centres_inside(starts, atlas.grid.patch_size, seen.lungs.GetSize())
        found["inside_pct"] = 100 * float(inside.mean())
    return found
