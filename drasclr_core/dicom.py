"""Read the CT of a DICOM folder: choose its series, check that the slices form one regular stack, stack them.

Header text is used to choose and sort and is kept nowhere: not in the image, not in messages, not in the log.
"""

import logging
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core import scan_checks
from drasclr_core.errors import InputError, is_machine_fault, printable
from drasclr_core.io import check_name
from drasclr_core.scan_files import quiet_reader

logger = logging.getLogger(__name__)

SUFFIXES = (".dcm", ".dicom", ".ima")
_CT_STORAGE = b"1.2.840.10008.5.1.4.1.1.2"  # CT Image Storage; the enhanced CT's starts alike
_SOP_CLASS = b"\x02\x00\x02\x00UI"
_HEAD_BYTES = 1024
_LEAST_AXIAL = 0.8  # cosine between slice normal and body axis
_RIVAL_SHARE = 0.5  # another series this long, relative to the longest, makes the choice ambiguous
_MOST_TILT_DEGREES = 0.5
_GAP_TOLERANCE = 0.1  # of the median gap
_MODALITIES = {  # the terms of DICOM for images; any other text stays unsaid
    *("CR", "CT", "DX", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT", "PX", "RF", "RG"),
    *("RTDOSE", "RTIMAGE", "SC", "SEG", "SM", "US", "XA", "XC"),
}


@dataclass(frozen=True)
class Slice:
    """What one DICOM file says of its geometry; `series` only groups files."""

    path: Path
    series: str
    modality: str
    localizer: bool
    frames: int
    size: tuple[int, int]
    spacing_mm: tuple[float, float]
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector across the slice, right-handed with its rows and columns."""
        return np.cross(self.orientation[:3], self.orientation[3:]).astype(np.float64)


def read_series(folder: Path) -> sitk.Image:
    """Read the one chest CT of a DICOM folder, rescale slope and intercept applied by the reader, once.

    Parameters
    ----------
    folder : Path
        Holds the slices as files, not in subfolders; localizers and short other series may lie beside them.
        Names that begin with a dot are passed over.

    Returns
    -------
    sitk.Image
        Slices sorted along their normal; geometry from the slices' own positions; no header text.

    Raises
    ------
    InputError
        If no series, or more than one, can be the CT; if a slice is unreadable, missing or double; if the gantry
        was tilted.
    """
    with quiet_reader():
        slices = _read_headers(folder)
        stack = _sort_stack(folder, _choose_series(folder, slices))
        reader = sitk.ImageSeriesReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileNames([str(item.path) for item in stack])
        try:
            return reader.Execute()
        except RuntimeError as error:
            # Without the reader's own words, which may quote the header.
            if is_machine_fault(error):
                raise RuntimeError(f"{folder}: memory or disk failed while it was read.") from None
            raise InputError(f"{folder}: the voxels of a slice cannot be read: copy the series again.") from None


def _read_headers(folder: Path) -> list[Slice]:
    slices = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.upper() != "DICOMDIR" and not path.name.startswith("."):
            header = _read_header(path)
            if header is not None:
                slices.append(header)
    if not slices:
        raise InputError(f"{folder}: holds no DICOM image: give the folder that holds the slices themselves.")
    return slices


def _read_header(path: Path) -> Slice | None:
    """Return the geometry of one file; None where it is no DICOM image at all."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if printable(path) != str(path) and not _should_be_ct(path, head):
        return None
    check_name(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        return _parse_header(path, reader)
    except (RuntimeError, ValueError):
        if _should_be_ct(path, head):
            raise InputError(f"{path}: this DICOM slice cannot be read: copy it again, or remove it.") from None
        return None


def _should_be_ct(path: Path, head: bytes) -> bool:
    marked = head[128:132] == b"DICM"
    if marked and _SOP_CLASS in head:
        return head.split(_SOP_CLASS, 1)[1][2:].startswith(_CT_STORAGE)
    return marked or path.suffix.lower() in SUFFIXES


def _parse_header(path: Path, reader: sitk.ImageFileReader) -> Slice:
    keys = set(reader.GetMetaDataKeys())

    def text(tag: str, missing: str = "") -> str:
        return reader.GetMetaData(tag).strip(" \0") if tag in keys else missing

    def numbers(tag: str, count: int) -> tuple[float, ...]:
        values = tuple(float(value) for value in text(tag, "\\".join(["nan"] * count)).split("\\"))
        if len(values) != count:
            raise ValueError(f"{tag} has {len(values)} values, not {count}")
        return values

    modality = text("0008|0060", "not stated")
    rows_mm, columns_mm = numbers("0028|0030", 2)
    return Slice(
        path=path,
        series=text("0020|000e"),
        modality=modality if modality in {*_MODALITIES, "not stated"} else "unknown",
        localizer="LOCALIZER" in text("0008|0008"),
        frames=int(text("0028|0008", "1")),
        size=reader.GetSize()[:2],
        spacing_mm=(columns_mm, rows_mm),
        position_mm=numbers("0020|0032", 3),
        orientation=numbers("0020|0037", 6),
    )


def _choose_series(folder: Path, slices: list[Slice]) -> list[Slice]:
    """Return the longest axial CT series, if no other is nearly as long."""
    groups: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for item in slices:
        groups[item.series, item.size, tuple(np.round(item.orientation, 3))].append(item)
    candidates = [group for group in groups.values() if all(map(_is_axial_ct, group))]
    if not candidates:
        raise InputError(
            f"{folder}: holds no axial CT series (modalities found: {', '.join(sorted({s.modality for s in slices}))}; "
            f"files: {len(slices)}; slices need a position and an orientation, one slice per file): give a CT series."
        )
    candidates.sort(key=_length_mm, reverse=True)
    rivals = [group for group in candidates[1:] if _length_mm(group) >= _RIVAL_SHARE * _length_mm(candidates[0])]
    if rivals:
        counts = ", ".join(str(len(group)) for group in [candidates[0], *rivals])
        raise InputError(
            f"{folder}: holds {len(rivals) + 1} series that could be the CT (slices: {counts}): "
            "move the one to use into a folder of its own."
        )
    if len(groups) > 1:
        logger.info("%s: took the axial CT of %d slices out of %d series", folder, len(candidates[0]), len(groups))
    return candidates[0]


def _is_axial_ct(item: Slice) -> bool:
    complete = np.isfinite([*item.orientation, *item.position_mm, *item.spacing_mm]).all()
    flat = item.modality == "CT" and not item.localizer and item.frames == 1
    return bool(complete and flat and abs(item.normal[2]) >= _LEAST_AXIAL)


def _length_mm(stack: list[Slice]) -> float:
    along_mm = [float(np.dot(item.position_mm, stack[0].normal)) for item in stack]
    return max(along_mm) - min(along_mm)


def _sort_stack(folder: Path, stack: list[Slice]) -> list[Slice]:
    """Return the slices sorted along their normal, or refuse an irregular stack."""
    if len(stack) < scan_checks.FEWEST_VOXELS:
        raise InputError(
            f"{folder}: the CT series has {len(stack)} slices, fewer than {scan_checks.FEWEST_VOXELS}: "
            "give a whole scan."
        )
    normal = stack[0].normal
    stack = sorted(stack, key=lambda item: float(np.dot(item.position_mm, normal)))
    steps_mm = np.diff([item.position_mm for item in stack], axis=0)
    gaps_mm = steps_mm @ normal
    usual_mm = float(np.median(gaps_mm))
    if gaps_mm.min() < _GAP_TOLERANCE * usual_mm or usual_mm == 0:
        raise InputError(
            f"{folder}: {int((gaps_mm < _GAP_TOLERANCE * usual_mm).sum())} slices lie where another lies already: "
            "remove duplicated slices, or give one phase alone."
        )
    drift_mm = steps_mm.sum(axis=0) - gaps_mm.sum() * normal
    tilt = math.degrees(math.atan2(float(np.linalg.norm(drift_mm)), float(gaps_mm.sum())))
    if tilt > _MOST_TILT_DEGREES:
        raise InputError(
            f"{folder}: the gantry was tilted by {tilt:.1f} degrees (at most {_MOST_TILT_DEGREES} is allowed): "
            "resample the scan to an upright stack first."
        )
    if np.abs(gaps_mm - usual_mm).max() > _GAP_TOLERANCE * usual_mm:
        raise InputError(
            f"{folder}: slices are missing: the gap between neighbours goes from {gaps_mm.min():.2f} to "
            f"{gaps_mm.max():.2f} mm, usually {usual_mm:.2f} mm: give the complete series."
        )
    return stack
