"""Read CT volumes in Hounsfield units, bring them to canonical axes and isotropic voxels, write them.

Nothing of a file's header but its geometry survives reading: no name, date or comment reaches an image or a log.
"""

import errno
import gzip
import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.base.errors import DamagedError, InputError, is_path_fault
from drasclr_core.base.paths import check_name
from drasclr_core.scan.checks import AIR_HU, HIGHEST_HU
from drasclr_core.scan.dicom import read_series
from drasclr_core.scan.files import quiet_reader, read_file
from drasclr_core.scan.in_memory import ScanImage, checked_ct, of_itk
from drasclr_core.scan.resample import cubic_spline_weights, resample_slabs, triangle_weights

_ALIGNED_TOLERANCE = 1e-4  # sine of the angle to the canonical axes: 0.04 mm over 400 mm
_OBLIQUE_MARGIN = 16  # input slices around an oblique slab; the B-spline's memory is shorter
_OBLIQUE_SLAB = 48
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class _Grid:
    size: tuple[int, ...]  # (x, y, z)
    origin_mm: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    direction: tuple[float, ...]


def read_ct(scan: str | Path | ScanImage) -> sitk.Image:
    """Read one chest CT.

    Parameters
    ----------
    scan : path, or ScanImage
        A NIfTI, NRRD or MetaImage file, or the folder of a DICOM series; or an image as of `in_memory.scan_image`.

    Returns
    -------
    sitk.Image
        int16 HU in [-1024, 3071], axes as stored (LPS physical space) and orthonormal, no header text.
        What lies outside the field of view (-2048, -3024) has become -1024.

    Raises
    ------
    InputError
        If the scan cannot be read, or is not exactly one chest CT in Hounsfield units.
    """
    if isinstance(scan, ScanImage):
        return checked_ct(scan)
    path = Path(scan)
    check_name(path)
    try:
        path.stat()
        if not (path.is_dir() or path.is_file()):
            raise InputError(f"{path}: neither a file nor a folder: correct the path to the scan.")
        image = read_series(path) if path.is_dir() else read_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder: correct the path to the scan.") from None
    except OSError as error:
        if not is_path_fault(error):
            raise  # a lost disk, too many open files: the machine's, and the scan must not be excluded for it
        place = error.filename or path  # a slice, maybe
        raise InputError(f"{place}: cannot be read ({error.strerror}): check the path and its permissions.") from error
    return checked_ct(of_itk(str(path), image))


def to_canonical(image: sitk.Image, axes: str = "LPS") -> sitk.Image:
    """Permute and flip the axes so that they run along `axes` as nearly as possible; no voxel changes its value.

    Parameters
    ----------
    image : sitk.Image
        3D, orthonormal direction.
    axes : str
        Where x, y and z grow towards: L or R, then P or A, then S or I.

    Returns
    -------
    sitk.Image
        Its direction is exactly diagonal with elements 1 and -1, unless the scan is oblique (then the remaining
        rotation is under 45 degrees, and `resample_isotropic` removes it).
    """
    target = axes_direction(axes)
    if image.GetDirection() == target:
        return image
    oriented = sitk.DICOMOrient(image, axes)
    if np.abs(np.subtract(oriented.GetDirection(), target)).max() <= _ALIGNED_TOLERANCE:
        oriented.SetDirection(target)
    return oriented


def axes_direction(axes: str) -> tuple[float, ...]:
    """Return the diagonal direction matrix, row-major, of axes such as "LPS" (the identity) or "LAS"."""
    if len(axes) != 3 or any(letter not in pair for letter, pair in zip(axes, ("LR", "PA", "SI"), strict=True)):
        raise InputError(f"preprocess.axes is {axes!r}: give L or R, then P or A, then S or I, such as LPS.")
    signs = [1.0 if letter in "LPS" else -1.0 for letter in axes]
    return tuple(float(value) for value in np.diag(signs).ravel())


def resample_isotropic(image: sitk.Image, spacing_mm: float, axes: str = "LPS") -> sitk.Image:
    """Resample to cubic voxels on canonical axes with a cubic B-spline, each voxel interpolated once.

    Works in slabs along z, so that memory stays near the size of input and output.

    Parameters
    ----------
    image : sitk.Image
        HU, 3D, orthonormal direction of any orientation.
    spacing_mm : float
        Edge of the voxels wanted.
    axes : str
        As in `to_canonical`.

    Returns
    -------
    sitk.Image
        int16 HU in [-1024, 3071]. The first voxel's centre is that of the canonical volume (of its bounding box
        where the scan is oblique), and floor((n - 1) * spacing / spacing_mm) + 1 voxels follow along each axis.
        Outside the scan -1024.
    """
    image = to_canonical(image, axes)
    direction = axes_direction(axes)
    blocks = _aligned_blocks if image.GetDirection() == direction else _oblique_blocks
    grid = _isotropic_grid(image, spacing_mm, direction)
    hu = np.empty(grid.size[::-1], dtype=np.int16)
    for rows, block in blocks(image, grid):
        hu[rows] = np.clip(np.rint(block), AIR_HU, HIGHEST_HU)
    result = sitk.GetImageFromArray(hu)
    result.SetOrigin(grid.origin_mm)
    result.SetSpacing(grid.spacing_mm)
    result.SetDirection(direction)
    return result


def write_image(image: sitk.Image, path: str | Path) -> None:
    """Write an image, quickly compressed where the format allows (suffix .nii.gz in all our outputs).

    Raises
    ------
    OSError
        If the file is not whole: ITK says nothing of a disk that is full.
    """
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
    array = sitk.GetArrayViewFromImage(image)
    whole = _is_whole(Path(path), array.nbytes) if str(path).endswith(".gz") else _holds(path, array)
    if not whole:
        raise OSError(errno.EIO, "the image could not be written whole: is the disk full?", str(path))


def _is_whole(path: Path, least_bytes: int) -> bool:
    """Return whether a gzip file holds so many bytes, all of its checksums right."""
    try:
        with gzip.open(path) as file:
            total = sum(len(chunk) for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return total >= least_bytes


def _holds(path: str | Path, array: npt.NDArray[Any]) -> bool:
    """Return whether an image file can be read and holds these voxels."""
    with quiet_reader():
        try:
            written = sitk.ReadImage(str(path))
        except RuntimeError:
            return False
    return np.array_equal(sitk.GetArrayViewFromImage(written), array)


def read_image(path: str | Path) -> sitk.Image:
    """Read an image that this pipeline wrote: voxels and geometry, no header text; DamagedError as of `check_image`."""
    check_image(path)
    return without_text(sitk.ReadImage(str(path)))


def check_image(path: str | Path) -> None:
    """Raise a DamagedError if an image's checksum, at which ITK does not look, is not that of its content."""
    if str(path).endswith(".gz") and not _is_whole(Path(path), 1):
        raise DamagedError(path, "its checksum is not that of its content")


def without_text(image: sitk.Image) -> sitk.Image:
    """Forget, in place, what a header says beside the geometry: ITK would write it into the next file."""
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    return image


def _isotropic_grid(image: sitk.Image, spacing_mm: float, direction: tuple[float, ...]) -> _Grid:
    """Return the grid that covers the voxel centres of `image`, starting at the outermost."""
    axes = np.array(direction).reshape(3, 3)
    corners = itertools.product(*((0, count - 1) for count in image.GetSize()))
    corners_mm = np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners]) @ axes
    lowest_mm = corners_mm.min(axis=0)
    steps = (corners_mm.max(axis=0) - lowest_mm) / spacing_mm
    return _Grid(
        size=tuple(math.floor(count + 1e-6) + 1 for count in steps),
        origin_mm=tuple(float(value) for value in axes @ lowest_mm),
        spacing_mm=(spacing_mm,) * 3,
        direction=direction,
    )


def _aligned_blocks(image: sitk.Image, grid: _Grid) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yield the resampled volume slab by slab where input and output axes are parallel."""
    x, y, z = (
        cubic_spline_weights(count, np.arange(wanted) * new_mm / old_mm)
        for count, wanted, new_mm, old_mm in zip(
            image.GetSize(), grid.size, grid.spacing_mm, image.GetSpacing(), strict=True
        )
    )
    yield from resample_slabs(sitk.GetArrayViewFromImage(image), (z, y, x))


def _oblique_blocks(image: sitk.Image, grid: _Grid) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yield the resampled volume slab by slab from the input slices that each slab can see."""
    axes = np.array(grid.direction).reshape(3, 3)
    depth = image.GetSize()[2]
    for start in range(0, grid.size[2], _OBLIQUE_SLAB):
        stop = min(start + _OBLIQUE_SLAB, grid.size[2])
        corners = np.array(list(itertools.product((0, grid.size[0] - 1), (0, grid.size[1] - 1), (start, stop - 1))))
        corners_mm = grid.origin_mm + corners * grid.spacing_mm @ axes.T
        seen = [image.TransformPhysicalPointToContinuousIndex(point)[2] for point in corners_mm.tolist()]
        first = min(max(math.floor(min(seen)) - _OBLIQUE_MARGIN, 0), depth - 2)
        last = max(min(math.ceil(max(seen)) + _OBLIQUE_MARGIN + 1, depth), first + 2)
        block = sitk.Resample(
            image[:, :, first:last],
            (*grid.size[:2], stop - start),
            sitk.Transform(),
            sitk.sitkBSpline,
            tuple(grid.origin_mm + axes @ (0, 0, start * grid.spacing_mm[2])),
            grid.spacing_mm,
            grid.direction,
            AIR_HU,
            sitk.sitkFloat32,
        )
        yield slice(start, stop), sitk.GetArrayFromImage(block)


def coarse_copy(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Return a smoothed or linearly interpolated float32 copy on LPS axes, for steps that need no detail.

    Parameters
    ----------
    image : sitk.Image
        HU, 3D, orthonormal direction of any orientation.
    spacing_mm : float
        Edge of the copy's voxels. Axes with finer voxels are averaged, coarser ones are interpolated.

    Returns
    -------
    sitk.Image
        float32 HU, grid as `resample_isotropic` lays it.
    """
    image = to_canonical(image)
    direction = axes_direction("LPS")
    grid = _isotropic_grid(image, spacing_mm, direction)
    if image.GetDirection() != direction:
        return sitk.Resample(
            image,
            grid.size,
            sitk.Transform(),
            sitk.sitkLinear,
            grid.origin_mm,
            grid.spacing_mm,
            direction,
            AIR_HU,
            sitk.sitkFloat32,
        )
    ratios = [spacing_mm / value for value in image.GetSpacing()]
    x, y, z = (
        triangle_weights(count, np.arange(wanted) * ratio, max(ratio, 1.0))
        for count, wanted, ratio in zip(image.GetSize(), grid.size, ratios, strict=True)
    )
    blocks = resample_slabs(sitk.GetArrayViewFromImage(image), (z, y, x))
    result = sitk.GetImageFromArray(np.concatenate([block for _, block in blocks]))
    result.SetOrigin(grid.origin_mm)
    result.SetSpacing(grid.spacing_mm)
    return result
