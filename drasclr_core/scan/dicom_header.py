"""What one DICOM file says of its geometry and its pixels.

Header text is used to choose and sort and is kept nowhere: not in the image, not in messages, not in the log. Numbers
of the geometry are told.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.base.errors import InputError, printable
from drasclr_core.base.paths import check_name

SUFFIXES = (".dcm", ".dicom", ".ima")
_CT_STORAGE = b"1.2.840.10008.5.1.4.1.1.2"  # CT Image Storage; the enhanced CT's starts alike
_SOP_CLASS = b"\x02\x00\x02\x00UI"
_HEAD_BYTES = 1 << 16
_OVERLAY_IN_PIXELS = re.compile(rb"\x00\x60\x02\x01(?:US\x02\x00|\x02\x00\x00\x00)(?!\x00\x00)", re.S)
_NUMBERS = re.compile(r"[-+0-9.,eE\\ ]+")
_MODALITIES = {  # the terms of DICOM for images; any other text stays unsaid
    *("CR", "CT", "DX", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT", "PX", "RF", "RG"),
    *("RTDOSE", "RTIMAGE", "SC", "SEG", "SM", "US", "XA", "XC"),
}
_NAMES = {
    "0028|0030": "PixelSpacing (0028,0030)",
    "0020|0032": "ImagePositionPatient (0020,0032)",
    "0020|0037": "ImageOrientationPatient (0020,0037)",
    "0028|0008": "NumberOfFrames (0028,0008)",
    "0028|0120": "PixelPaddingValue (0028,0120)",
    "0028|0121": "PixelPaddingRangeLimit (0028,0121)",
    "0028|1052": "RescaleIntercept (0028,1052)",
    "0028|1053": "RescaleSlope (0028,1053)",
}


@dataclass(frozen=True)
class Pixels:
    """How a file keeps its pixels; slices of one series keep them alike."""

    photometric: str
    samples: str
    bits_allocated: str
    bits_stored: str
    high_bit: str
    rescaled: bool
    signed: bool  # whether it is said, not how: archives often mistake one for the other

    def differs_in(self, other: "Pixels") -> str:
        """Return how these pixels differ from those of other slices; empty if they do not."""
        if (self.photometric, self.samples) != (other.photometric, other.samples):
            return "another PhotometricInterpretation (0028,0004) or SamplesPerPixel (0028,0002)"
        if self.bits_allocated != other.bits_allocated:
            return f"BitsAllocated (0028,0100) of {self.bits_allocated} in place of {other.bits_allocated}"
        if self.rescaled != other.rescaled:
            return f"{'a' if self.rescaled else 'no'} RescaleIntercept (0028,1052)"
        if self.signed != other.signed:
            return f"{'a' if self.signed else 'no'} PixelRepresentation (0028,0103)"
        return ""


@dataclass(frozen=True)
class Slice:
    """What one DICOM file says; `series`, `kernel` and `acquisition` only group files."""

    path: Path
    series: str
    kernel: str
    acquisition: str
    modality: str
    localizer: bool
    frames: int
    size: tuple[int, int]
    spacing_mm: tuple[float, ...]
    position_mm: tuple[float, ...]
    position_decimals: tuple[int, ...]
    orientation: tuple[float, ...]
    pixels: Pixels
    padding_hu: tuple[tuple[float, float], ...]  # ranges in which a voxel is none
    zero_spacing: bool  # of SpacingBetweenSlices, which only ITK heeds

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector across the slice, right-handed with its rows and columns."""
        return np.cross(self.orientation[:3], self.orientation[3:]).astype(np.float64)

    @property
    def lacks(self) -> str:
        """The first attribute of the geometry that is missing; empty if none is."""
        parts = {"0028|0030": self.spacing_mm, "0020|0032": self.position_mm, "0020|0037": self.orientation}
        return next((_NAMES[tag] for tag, values in parts.items() if not np.isfinite(values).all()), "")


def read_header(path: Path) -> Slice | None:
    """Return what one file says; None where it is no DICOM image at all.

    Raises
    ------
    InputError
        If the file should be a CT's slice, and cannot be read or holds no number where there must be one.
    """
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
        return _parse(path, reader)
    except (RuntimeError, ValueError) as error:
        if not _should_be_ct(path, head):
            return None
        if isinstance(error, ValueError):
            raise InputError(f"{path}: {error}: correct the tag, or remove the file.") from None
        if _OVERLAY_IN_PIXELS.search(head):
            raise InputError(
                f"{path}: has an overlay in its pixels (OverlayBitPosition, 60xx,0102, is not 0) and cannot be read: "
                "remove the overlay, or convert the series with a program that does."
            ) from None
        raise InputError(f"{path}: this DICOM slice cannot be read: copy it again, or remove it.") from None


def _should_be_ct(path: Path, head: bytes) -> bool:
    marked = head[128:132] == b"DICM"
    if marked and _SOP_CLASS in head:
        _, _, rest = head.partition(_SOP_CLASS)
        uid = rest[2 : 2 + int.from_bytes(rest[:2], "little")].rstrip(b"\0")
        return uid.startswith(_CT_STORAGE) or not re.fullmatch(rb"[0-9.]+", uid)  # what names no class may be any
    return marked or path.suffix.lower() in SUFFIXES


def _parse(path: Path, reader: sitk.ImageFileReader) -> Slice:
    keys = set(reader.GetMetaDataKeys())

    def text(tag: str) -> str:
        return reader.GetMetaData(tag).strip(" \0") if tag in keys else ""  # empty is missing

    def numbers(tag: str, count: int) -> tuple[float, ...]:
        given = text(tag)
        try:
            values = tuple(map(float, given.split("\\"))) if given else (math.nan,) * count
        except ValueError:
            told = f" but '{given}'" if _NUMBERS.fullmatch(given) else ""
            raise ValueError(f"{_NAMES[tag]} holds no numbers{told}") from None
        if len(values) != count:
            raise ValueError(f"{_NAMES[tag]} has {len(values)} values, not {count}")
        return values

    modality = text("0008|0060") or "not stated"
    rows_mm, columns_mm = numbers("0028|0030", 2)
    frames = numbers("0028|0008", 1)[0]
    return Slice(
        path=path,
        series=text("0020|000e"),
        kernel=text("0018|1210"),
        acquisition=text("0020|0012"),
        modality=modality if modality in {*_MODALITIES, "not stated"} else "unknown",
        localizer="LOCALIZER" in text("0008|0008"),
        frames=1 if math.isnan(frames) else int(frames),
        size=reader.GetSize()[:2],
        spacing_mm=(columns_mm, rows_mm),
        position_mm=numbers("0020|0032", 3),
        position_decimals=tuple(_decimals(value) for value in text("0020|0032").split("\\")),
        orientation=numbers("0020|0037", 6),
        pixels=Pixels(
            photometric=text("0028|0004"),
            samples=text("0028|0002"),
            bits_allocated=text("0028|0100"),
            bits_stored=text("0028|0101"),
            high_bit=text("0028|0102"),
            rescaled=bool(text("0028|1052")),
            signed=bool(text("0028|0103")),
        ),
        padding_hu=_padding_hu(numbers),
        zero_spacing=not reader.GetSpacing()[2] > 0,
    )


def _decimals(value: str) -> int:
    """Return how many decimals a number is written with."""
    mantissa, _, exponent = value.strip().lower().partition("e")
    return max(len(mantissa.partition(".")[2]) - int(exponent or 0), 0)


def _padding_hu(numbers: Callable[[str, int], tuple[float, ...]]) -> tuple[tuple[float, float], ...]:
    """Return the ranges of HU in which a voxel lies outside the field of view, as the header says."""
    (value,), (limit,) = numbers("0028|0120", 1), numbers("0028|0121", 1)
    slope, intercept = (numbers(tag, 1)[0] for tag in ("0028|1053", "0028|1052"))  # refused where they are none
    if math.isnan(value):
        return ()
    slope, intercept = (1 if math.isnan(slope) else slope), (0 if math.isnan(intercept) else intercept)
    ends = (value, value if math.isnan(limit) else limit)
    # Signed and unsigned are mistaken for each other in many archives.
    shifted = (tuple(slope * (end + turn) + intercept for end in ends) for turn in (-65536, 0, 65536))
    return tuple((min(pair), max(pair)) for pair in shifted)
