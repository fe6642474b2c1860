"""Read a volume from a NIfTI, NRRD or MetaImage file, refusing what the reader would let pass half-read."""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
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
_NIFTI_SPACING_BYTE = 80
_NIFTI_FLOATS = {16: "f4", 64: "f8"}  # datatype -> kind of voxel
_SPACING_KEYS = (b"space directions:", b"spacings:", b"ElementSpacing", b"ElementSize")  # NRRD, MetaImage
_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 30  # smaller volumes may unpack from as little as they like
_MOST_UNPACKED = 200  # bytes per byte of the file: noise lets no CT beyond about 10
_SELF_CONTAINED = (".nii.gz", ".nrrd", ".mha")  # compressed formats that keep no voxels in another file
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"


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
        If the suffix is unknown, the content is another format's, or the file is empty, truncated, damaged, sheared,
        not 3D, or has several numbers per voxel.
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
    compressed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
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
        spacing_mm = struct.unpack_from(f"{order}3f", head.ljust(348, b"\0"), _NIFTI_SPACING_BYTE)
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
    """Check what ITK passes over in silence: missing voxels and NaN (it reads zeros), sheared axes (it straightens)."""
    if int(float(header["sform_code"])) > 0:
        rows = [header[f"srow_{axis}"].split()[:3] for axis in "xyz"]
        scan_checks.orthonormal_direction(str(path), [float(value) for row in rows for value in row])
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


def _checked_bytes(path: Path, offset: int, expected: int, kind: str | None, plane: int) -> int:
    """Return how many bytes the file unpacks to, its checksums verified; stop well after the `expected` ones.

    Floating voxels, of `kind`, from `offset` on, `plane` to a slice, must be finite: ITK reads NaN in NIfTI as 0.
    """
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
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
