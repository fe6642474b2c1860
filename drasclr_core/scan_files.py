"""Read a volume from a NIfTI, NRRD or MetaImage file, refusing what the reader would let pass half-read."""

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core import scan_checks
from drasclr_core.errors import InputError, is_machine_fault

_NIFTI_STARTS = (b"\x5c\x01\0\0", b"\0\0\x01\x5c")  # the header's length, 348, little or big endian
_META_STARTS = (b"ObjectType", b"NDims", b"Comment")
FORMATS = {  # suffix -> the reader, and how such a file begins
    ".nii.gz": ("NiftiImageIO", (b"\x1f\x8b",)),
    ".nii": ("NiftiImageIO", _NIFTI_STARTS),
    ".nrrd": ("NrrdImageIO", (b"NRRD",)),
    ".nhdr": ("NrrdImageIO", (b"NRRD",)),
    ".mha": ("MetaImageIO", _META_STARTS),
    ".mhd": ("MetaImageIO", _META_STARTS),
}
_NIFTI_HEADER_BYTES, _NIFTI_SPACING_BYTE, _NIFTI_AXES_BYTE = 348, 80, 252
_NIFTI_FLOATS = {16: "f4", 64: "f8"}  # datatype -> kind of voxel
_SPACING_KEYS = (b"space directions:", b"spacings:", b"ElementSpacing", b"ElementSize")  # NRRD, MetaImage
_NRRD_AXES = (  # what must be in a header: said in messages, and patterns for it
    "space directions, or a space such as left-posterior-superior",
    (rb"\nspace directions:.*\(", rb"(?i)\nspace: *(left|right|las|lps|ras)"),
)
_META_AXES = ("TransformMatrix", (rb"\n(TransformMatrix|Rotation|Orientation) *=",))
_MOST_STRETCH = 0.01  # of a voxel by one of its two sizes in a NIfTI header against the other
_MOST_TURN_DEG = 1.0  # of an axis by one of the two orientations in a NIfTI header against the other
_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 30  # smaller volumes may unpack from as little as they like
_MOST_UNPACKED = 200  # bytes per byte of the file: noise lets no CT beyond about 10
_SELF_CONTAINED = (".nii.gz", ".nrrd", ".mha")  # compressed formats that keep no voxels in another file
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"
_UNKNOWN_SIDES = (
    "so right and left of the patient are unknown: convert the original scan again, or add the orientation."
)


def read_file(path: Path) -> sitk.Image:
    """Read one volume file; voxels as stored, with the file's own slope and intercept applied.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    sitk.Image
        3D, one real number per voxel.

    Raises
    ------
    InputError
        If the suffix is unknown, the content is another format's, the file is empty, truncated, damaged, sheared,
        not 3D, or has several numbers per voxel, or the header lacks size or orientation of the voxels or contradicts
        itself.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_format_of(path))
    reader.SetFileName(str(path))
    with quiet_reader():
        try:
            _check_stated_spacing(path)
            reader.ReadImageInformation()
            _check_header(path, reader)
            return reader.Execute()
        except RuntimeError as error:
            # Without the reader's own words, which may quote the header.
            if is_machine_fault(error):
                raise RuntimeError(f"{path}: memory or disk failed while it was read.") from None
            raise InputError(f"{path}: the file is damaged or incomplete: copy or convert the scan again.") from None


@contextmanager
def quiet_reader() -> Iterator[None]:
    """Keep ITK's warnings off the console, and let it read directions that are orthonormal but for rounding."""
    shown, permissive = sitk.ProcessObject.GetGlobalWarningDisplay(), os.environ.get(_PERMISSIVE)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    os.environ[_PERMISSIVE] = "ON"
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
        if permissive is None:
            del os.environ[_PERMISSIVE]
        else:
            os.environ[_PERMISSIVE] = permissive


def _format_of(path: Path) -> str:
    """Return the name of the reader, once the suffix is known and the content begins accordingly."""
    suffix = next((suffix for suffix in FORMATS if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(
            f"{path}: not a known format: give {', '.join(FORMATS)}, or the folder that holds a DICOM series."
        )
    reader, starts = FORMATS[suffix]
    with path.open("rb") as file:
        content = file.read(16)
    if not content:
        raise InputError(f"{path}: the file is empty: copy the scan again.")
    if not content.startswith(starts):
        raise InputError(f"{path}: the content is not {suffix}: rename the file to what it is, or convert the scan.")
    return reader


def _check_stated_spacing(path: Path) -> None:
    """Refuse a spacing that is missing or impossible: the readers would quietly take 1 mm instead."""
    try:
        with _opened(path) as file:
            head = file.read(_CHUNK_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return  # the damage is reported where the whole stream is checked
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        if not any(key in head for key in _SPACING_KEYS):
            raise InputError(f"{path}: the header states no voxel spacing: add it, or convert the scan again.")
    elif not head.startswith(_NIFTI_STARTS):
        raise InputError(f"{path}: the content is not NIfTI-1: convert the scan (NIfTI-2 cannot be read).")
    else:
        order = "<" if head[0] else ">"
        padded = head.ljust(_NIFTI_HEADER_BYTES, b"\0")
        spacing_mm = struct.unpack_from(f"{order}3f", padded, _NIFTI_SPACING_BYTE)
        if not all(0 < value < math.inf for value in spacing_mm):
            raise InputError(f"{path}: the header's voxel spacing is {spacing_mm} mm: correct it, or convert again.")


def _check_header(path: Path, reader: sitk.ImageFileReader) -> None:
    scan_checks.check_size(str(path), reader.GetSize())
    scan_checks.check_spacing(str(path), reader.GetSize(), reader.GetSpacing())
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1 or "integer" not in kind and "float" not in kind or "vector" in kind:
        raise InputError(
            f"{path}: a voxel is {kind} with {reader.GetNumberOfComponents()} components, a CT has one real number: "
            "give the grey-scale volume."
        )
    _check_unpacked(path, math.prod(reader.GetSize()) * sitk.Image(1, 1, reader.GetPixelID()).GetSizeOfPixelComponent())
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _check_nifti(path, {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}, reader.GetSize())
    else:
        _check_stated_axes(path)


def _check_stated_axes(path: Path) -> None:
    """Refuse a NRRD or MetaImage header that does not say how the axes lie in the patient: ITK would take LPS."""
    with _opened(path) as file:
        head = file.read(_CHUNK_BYTES)
    needed, patterns = _NRRD_AXES if head.startswith(b"NRRD") else _META_AXES
    if not all(re.search(pattern, head) for pattern in patterns):
        raise InputError(f"{path}: the header lacks {needed}, {_UNKNOWN_SIDES}")


def _check_unpacked(path: Path, claimed: int) -> None:
    """Refuse a small file that would fill the memory."""
    held = path.stat().st_size
    compressed = path.name.lower().endswith(_SELF_CONTAINED)
    if compressed and claimed > _LARGE_BYTES and claimed > _MOST_UNPACKED * held:
        raise InputError(
            f"{path}: {held:,} bytes claim to unpack to {claimed:,}, over {_MOST_UNPACKED} times as many: no scan "
            "does, with its noise; give the original."
        )


def _check_nifti(path: Path, header: dict[str, str], size: tuple[int, ...]) -> None:
    """Check what ITK passes over in silence: missing voxels and NaN (it reads zeros), axes that may not be its own."""
    offset, kind = int(float(header["vox_offset"])), _NIFTI_FLOATS.get(int(header["datatype"]))
    expected = offset + math.prod(size) * int(header["bitpix"]) // 8
    if kind or path.name.lower().endswith(".gz"):
        found = _checked_bytes(path, offset, expected, kind, plane=math.prod(size[:2]))
    else:
        found = path.stat().st_size
    if found < expected:
        raise InputError(
            f"{path}: {found:,} of {expected:,} bytes are there: the file is truncated; copy the scan again."
        )
    if found > expected + _CHUNK_BYTES:
        raise InputError(
            f"{path}: holds more than the {expected:,} bytes that its header states: the header is another volume's; "
            "convert the scan again."
        )
    _check_nifti_axes(path)


def _check_nifti_axes(path: Path) -> None:
    """Refuse axes that are unknown (ITK takes LPS), sheared (it straightens them), or given twice and differently."""
    with _opened(path) as file:
        head = file.read(_NIFTI_HEADER_BYTES)
    order = "<" if head[0] else ">"
    mirror, *stated_mm = struct.unpack_from(f"{order}4f", head, _NIFTI_SPACING_BYTE - 4)
    qform, sform, *numbers = struct.unpack_from(f"{order}2h18f", head, _NIFTI_AXES_BYTE)
    if max(qform, sform) <= 0:
        raise InputError(f"{path}: qform_code and sform_code are 0 in the header, {_UNKNOWN_SIDES}")
    if sform <= 0:
        return
    columns = np.reshape(numbers[6:], (3, 4))[:, :3]
    direction = np.reshape(scan_checks.orthonormal_direction(str(path), columns.ravel().tolist()), (3, 3))
    sizes_mm = np.linalg.norm(columns, axis=0)
    if np.abs(sizes_mm / stated_mm - 1).max() > _MOST_STRETCH:
        raise InputError(
            f"{path}: voxels are {_by(sizes_mm)} mm by the header's sform, {_by(stated_mm)} mm by its pixdim: correct "
            "the wrong one, or convert the scan again."
        )
    cosines = (direction * _qform_direction(numbers[:3], mirror)).sum(axis=0) if qform > 0 else 1
    turn_deg = np.degrees(np.arccos(np.clip(cosines, -1, 1))).max()
    if not turn_deg <= _MOST_TURN_DEG:
        raise InputError(
            f"{path}: qform and sform of the header differ by {turn_deg:.0f} degrees: set the code of the wrong one to "
            "0, or convert the scan again."
        )


def _qform_direction(quaternion: list[float], mirror: float) -> npt.NDArray[np.float64]:
    """Return the axes, columns of (3, 3) in RAS, that a NIfTI header states as quaternion b, c, d and `pixdim[0]`."""
    vector = np.array(quaternion)
    real = math.sqrt(max(1 - vector @ vector, 0))
    turn = np.outer(vector, vector) + real * np.cross(np.eye(3), vector)
    axes = (real**2 - vector @ vector) * np.eye(3) + 2 * turn
    return axes * (1, 1, -1 if mirror < 0 else 1)


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _by(sizes_mm: Iterable[float]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes_mm)


def _checked_bytes(path: Path, offset: int, expected: int, kind: str | None, plane: int) -> int:
    """Return how many bytes the file unpacks to, its checksums verified; stop well after the `expected` ones.

    Floating voxels, of `kind`, from `offset` on, `plane` to a slice, must be finite: ITK reads NaN in NIfTI as 0.
    """
    try:
        with _opened(path) as file:
            head = file.read(offset)
            total = len(head)
            while total <= expected + _CHUNK_BYTES and (chunk := file.read(_CHUNK_BYTES)):
                if kind:
                    stored = np.dtype(kind).newbyteorder("<" if head[0] else ">")
                    voxels = chunk[: max(expected - total, 0) // stored.itemsize * stored.itemsize]
                    values = np.frombuffer(voxels, stored, count=len(voxels) // stored.itemsize)
                    scan_checks.check_finite(str(path), values, plane, (total - offset) // stored.itemsize)
                total += len(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the gzip stream is truncated or damaged: copy the scan again.") from error
    return total
