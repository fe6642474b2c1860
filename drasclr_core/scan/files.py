"""Read a volume from a NIfTI, NRRD or MetaImage file, refusing what the reader would let pass half-read."""

import locale
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from drasclr_core.base.errors import InputError, is_machine_fault
from drasclr_core.scan import checks as scan_checks
from drasclr_core.scan import nifti as scan_nifti
from drasclr_core.scan.headers import Stated, check_axes, check_voxels
from drasclr_core.scan.meta_image import read_meta
from drasclr_core.scan.nrrd import read_nrrd

_META_STARTS = (b"ObjectType", b"NDims", b"Comment")
FORMATS = {  # suffix -> the reader, and how such a file begins
    ".nii.gz": ("NiftiImageIO", (b"\x1f\x8b",)),
    ".nii": ("NiftiImageIO", scan_nifti.STARTS),
    ".nrrd": ("NrrdImageIO", (b"NRRD",)),
    ".nhdr": ("NrrdImageIO", (b"NRRD",)),
    ".mha": ("MetaImageIO", _META_STARTS),
    ".mhd": ("MetaImageIO", _META_STARTS),
}
_LARGE_BYTES = 1 << 30  # smaller volumes may unpack from as little as they like
_MOST_UNPACKED = 200  # bytes per byte of the file: noise lets no CT beyond about 10
_GEOMETRY_TOLERANCE = 1e-4  # mm and cosines
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
        If the suffix is unknown, the content is another format's, the file is empty, truncated, damaged, sheared,
        not 3D, or has several numbers per voxel, or the header lacks size or orientation of the voxels or contradicts
        itself.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_format_of(path))
    reader.SetFileName(str(path))
    with quiet_reader():
        try:
            stated = _read_header(path)
            reader.ReadImageInformation()
            _check_header(path, reader, stated)
            return reader.Execute()
        except RuntimeError as error:
            # Without the reader's own words, which may quote the header.
            if is_machine_fault(error):
                raise RuntimeError(f"{path}: memory or disk failed while it was read.") from None
            raise InputError(f"{path}: the file is damaged or incomplete: copy or convert the scan again.") from None


def check_components(scan: str, pixel_id: int, count: int) -> None:
    """Refuse an image of ITK whose voxels are no single real numbers."""
    kind = sitk.GetPixelIDValueAsString(pixel_id)
    is_real = count == 1 and ("integer" in kind or "float" in kind) and "vector" not in kind
    scan_checks.check_voxel_kind(scan, f"{kind} with {count} components", is_real)


@contextmanager
def quiet_reader() -> Iterator[None]:
    """Keep ITK's warnings off the console, and let it read directions that are orthonormal but for rounding.

    And numbers with a point, if the calling program has set a language that has a comma.
    """
    shown, permissive = sitk.ProcessObject.GetGlobalWarningDisplay(), os.environ.get(_PERMISSIVE)
    numbers = locale.setlocale(locale.LC_NUMERIC)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    os.environ[_PERMISSIVE] = "ON"
    locale.setlocale(locale.LC_NUMERIC, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, numbers)
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


def _read_header(path: Path) -> Stated | None:
    """Check what a header states before ITK sees it; return it, of a NIfTI file None."""
    name = path.name.lower()
    if name.endswith(scan_nifti.SUFFIXES):
        scan_nifti.check_header(path)
        return None
    stated = read_nrrd(path) if name.endswith((".nrrd", ".nhdr")) else read_meta(path)
    check_axes(stated, path)
    scan_checks.check_size(str(path), stated.size)
    if stated.packed:
        _check_unpacked(path, stated.data.stat().st_size, stated.length)
    check_voxels(stated, path)
    return stated


def _check_header(path: Path, reader: sitk.ImageFileReader, stated: Stated | None) -> None:
    scan_checks.check_size(str(path), reader.GetSize())
    scan_checks.check_spacing(str(path), reader.GetSize(), reader.GetSpacing())
    check_components(str(path), reader.GetPixelID(), reader.GetNumberOfComponents())
    if stated is None:
        voxel_bytes = sitk.Image(1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
        if path.name.lower().endswith(".gz"):
            _check_unpacked(path, path.stat().st_size, math.prod(reader.GetSize()) * voxel_bytes)
        scan_nifti.check_content(path, reader.GetSize())
        return
    ours = np.concatenate([stated.size, stated.spacing_mm, stated.origin_mm, stated.direction])
    theirs = [*reader.GetSize(), *reader.GetSpacing(), *reader.GetOrigin(), *reader.GetDirection()]
    if not np.allclose(ours, theirs, rtol=_GEOMETRY_TOLERANCE, atol=_GEOMETRY_TOLERANCE):
        raise InputError(f"{path}: the header can be read in two ways: convert the scan again, to .nii.gz.")


def _check_unpacked(path: Path, held: int, claimed: int) -> None:
    """Refuse few bytes that would fill the memory."""
    if claimed > _LARGE_BYTES and claimed > _MOST_UNPACKED * held:
        raise InputError(
            f"{path}: {held:,} bytes claim to unpack to {claimed:,}, over {_MOST_UNPACKED} times as many: no scan "
            "does, with its noise; give the original."
        )
