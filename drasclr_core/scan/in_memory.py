"""Images in memory as chest CTs: of SimpleITK, of nibabel, arrays with an affine."""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.base.errors import InputError
from drasclr_core.scan import checks as scan_checks
from drasclr_core.scan import nifti as scan_nifti
from drasclr_core.scan.files import check_components, quiet_reader

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_VOXELS = 352  # byte of a NIfTI file at which they begin
_KINDS = "a path, a SimpleITK image, a nibabel image, or an array with its affine"


@dataclass(frozen=True, eq=False)
class ScanImage:
    """A volume in memory, not yet checked.

    Attributes
    ----------
    name : str
        In messages.
    values : (Z, Y, X) array
        Voxels.
    spacing_mm, origin_mm : tuple of 3 float
        Edges of a voxel and centre of the first one, (x, y, z), LPS.
    direction : tuple of 9 float
        Row-major 3 x 3 matrix, whose columns are the axes x, y, z in LPS.
    """

    name: str
    values: npt.NDArray[Any] = field(repr=False)
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    owner: Any = field(default=None, repr=False)  # of the memory of `values`, where these are a view

    def __str__(self) -> str:
        return self.name


def checked_ct(scan: ScanImage) -> sitk.Image:
    """Return a volume as int16 HU in [-1024, 3071] on its own axes, made orthonormal.

    Raises
    ------
    InputError
        If it cannot be a chest CT in Hounsfield units, as the functions of `scan_checks` say.
    """
    name, size = scan.name, scan.values.shape[::-1]
    scan_checks.check_size(name, size)
    scan_checks.check_spacing(name, size, scan.spacing_mm)
    direction = scan_checks.orthonormal_direction(name, scan.direction)
    scan_checks.check_voxel_kind(name, str(scan.values.dtype), scan.values.dtype.kind in "iuf")
    ct = sitk.GetImageFromArray(scan_checks.to_hu(name, scan.values))
    ct.SetOrigin(scan.origin_mm)
    ct.SetSpacing(scan.spacing_mm)
    ct.SetDirection(direction)
    return ct


def is_one_scan(given: Any) -> bool:
    """Return whether something is one scan, not several: a path, an image, an array, a pair of array and affine."""
    pair = isinstance(given, tuple) and len(given) == 2 and all(map(_is_array, given))
    return pair or _is_array(given) or isinstance(given, (str, Path, sitk.Image)) or _is_nibabel(given)


def scan_image(given: Any, affine: Any = None, name: str = "the image") -> Path | ScanImage:
    """Return a scan as `images.read_ct` takes it.

    Parameters
    ----------
    given : path, SimpleITK.Image, nibabel image, (I, J, K) array, or a pair of array and affine
        Voxels are Hounsfield units; those of a nibabel image with its slope and intercept applied.
    affine : (4, 4) array, optional
        Of an array: from voxel indices (i, j, k) to millimetres in RAS, as nibabel and MONAI have it.
    name : str
        In messages.

    Raises
    ------
    InputError
        If it is none of these, or has not as many dimensions, numbers per voxel, or axes as a CT.
    """
    if isinstance(given, tuple) and is_one_scan(given) and affine is None:
        given, affine = given
    if affine is not None and not _is_array(given):
        raise InputError(f"{name}: an affine is given beside what has its own axes: leave it out.")
    if _is_array(given):
        return _of_array(name, given, affine)
    if isinstance(given, (str, Path)):
        return Path(given)
    if isinstance(given, sitk.Image):
        return of_itk(name, given)
    if _is_nibabel(given):
        return _of_nibabel(name, given)
    raise InputError(f"{name}: {type(given).__name__} is no scan: give {_KINDS}.")


def of_itk(name: str, image: sitk.Image) -> ScanImage:
    """Return an image of SimpleITK, its voxels in place."""
    scan_checks.check_size(name, image.GetSize())
    check_components(name, image.GetPixelID(), image.GetNumberOfComponentsPerPixel())
    geometry = (image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    if not np.isfinite([*geometry[1], *geometry[2]]).all():
        raise InputError(f"{name}: its origin or direction holds what is no number: load the scan again.")
    return ScanImage(name, sitk.GetArrayViewFromImage(image), *geometry, owner=image)


def _is_array(given: Any) -> bool:
    """Return whether something is an array of numpy, torch or MONAI; one of paths has a single dimension."""
    is_image = isinstance(given, sitk.Image) or _is_nibabel(given)
    return hasattr(given, "__array__") and getattr(given, "ndim", 0) > 1 and not is_image


def _of_array(name: str, given: Any, affine: Any) -> ScanImage:
    if affine is None:
        raise InputError(
            f"{name}: an array does not say where its voxels lie: give its affine too, a (4, 4) matrix from (i, j, k) "
            "to millimetres in RAS, such as nibabel's image.affine."
        )
    scan_checks.check_size(name, tuple(given.shape))  # before a lazy array computes its voxels
    values, matrix = _plain(name, given, "voxels"), _plain(name, affine, "affine", np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or (matrix[3] != (0, 0, 0, 1)).any():
        raise InputError(
            f"{name}: the affine, of shape {matrix.shape}, is no (4, 4) matrix of finite numbers with a last row of "
            "0, 0, 0, 1: give the one that leads from (i, j, k) to millimetres in RAS."
        )
    axes = _RAS_TO_LPS @ matrix[:3, :3]
    spacing_mm = np.linalg.norm(axes, axis=0)
    scan_checks.check_spacing(name, values.shape, spacing_mm.tolist())
    direction, origin_mm = (axes / spacing_mm).ravel().tolist(), (_RAS_TO_LPS @ matrix[:3, 3]).tolist()
    return ScanImage(name, values.transpose(2, 1, 0), tuple(spacing_mm.tolist()), tuple(origin_mm), tuple(direction))


def _plain(name: str, given: Any, what: str, dtype: Any = None) -> npt.NDArray[Any]:
    """Return an array of NumPy; one of another library may refuse, or hold what NumPy has no kind for."""
    if np.ma.isMaskedArray(given):
        raise InputError(f"{name}: its {what} are a masked array: fill what is masked, with air (-1024) say.")
    try:
        values = np.asarray(given)
        if dtype is not None and np.iscomplexobj(values):
            raise InputError(f"{name}: its {what} holds complex numbers: give real ones.")
        return values if dtype is None else values.astype(dtype)
    except InputError:
        raise
    except Exception as error:  # whatever a library raises
        raise InputError(
            f"{name}: its {what} cannot be read as an array ({type(error).__name__}): give numbers, of a tensor "
            "tensor.detach().cpu().float()."
        ) from error


def _is_nibabel(given: Any) -> bool:
    nibabel = sys.modules.get("nibabel")  # who gives such an image has imported it
    return nibabel is not None and isinstance(given, nibabel.spatialimages.SpatialImage)


def _of_nibabel(name: str, image: Any) -> ScanImage:
    """Return an image of nibabel as ITK would read it from a NIfTI file, to the last bit."""
    nibabel = sys.modules["nibabel"]
    scan_checks.check_size(name, image.shape)
    try:
        header = nibabel.Nifti1Image(image.dataobj, image.affine, image.header).header.copy()
        values = np.asanyarray(image.dataobj)
    except Exception as error:
        # Without nibabel's own words, which may quote the header.
        raise InputError(
            f"{name}: nibabel cannot give its voxels and axes ({type(error).__name__}): load the scan again, or give "
            "its path."
        ) from None
    if nibabel.is_proxy(image.dataobj) and values.dtype != image.dataobj.dtype != np.float64:
        values = values.astype(np.float32)  # ITK's kind of numbers that a slope has changed
    header["magic"], header["vox_offset"] = b"n+1", _VOXELS
    return ScanImage(name, values.transpose(2, 1, 0), *_nifti_geometry(name, header.binaryblock))


def _nifti_geometry(name: str, head: bytes) -> tuple[tuple[float, ...], ...]:
    """Return spacing, origin and direction that ITK takes from a NIfTI header, once it passes the checks of a file."""
    scan_nifti.check_head(name, head)
    scan_nifti.check_axes(name, head)
    with tempfile.TemporaryDirectory(prefix="drasclr-") as folder, quiet_reader():
        path = Path(folder, "header.nii")
        path.write_bytes(head.ljust(_VOXELS, b"\0"))
        reader = sitk.ImageFileReader()
        reader.SetImageIO("NiftiImageIO")
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            raise InputError(f"{name}: its axes cannot be those of a scan: correct its affine.") from None
        return reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
