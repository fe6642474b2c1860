"""Cut a subject's patches at the landmarks, and keep them in a zarr store.

Points and start indices are (x, y, z); arrays are (z, y, x). Patches follow the subject's axes and are never rotated.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.base.files import atomic_directory
from drasclr_core.base.stores import WHOLE, Store, checked_codecs

OUTSIDE_HU = -1024
STORE = "patches.zarr"


def map_points(transform: sitk.Transform, points_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Map points through an affine transform, all at once.

    Parameters
    ----------
    transform : SimpleITK transform
        Affine; atlas points to subject points, say.
    points_mm : (P, 3) array
        LPS millimetres.

    Returns
    -------
    (P, 3) float64 array
        A (x - c) + c + t, in millimetres.
    """
    affine = sitk.AffineTransform(transform)
    matrix, centre = np.reshape(affine.GetMatrix(), (3, 3)), np.array(affine.GetCenter())
    return (np.asarray(points_mm, np.float64) - centre) @ matrix.T + centre + affine.GetTranslation()


def check_volume(grid: LandmarkGrid, image: sitk.Image) -> None:
    """Refuse a volume on which the grid's patches cannot be cut.

    Raises
    ------
    InputError
        If the volume's spacing is not the grid's, or the convention is ``released`` and its axes are not the atlas's.
    """
    if not np.allclose(image.GetSpacing(), grid.spacing_mm, rtol=1e-4):
        raise InputError(
            f"The volume's spacing is {image.GetSpacing()} mm, the landmark grid's {grid.spacing_mm} mm: "
            "resample both to preprocess.spacing_mm."
        )
    direction = np.reshape(image.GetDirection(), (3, 3))
    if grid.convention == "released" and not np.array_equal(np.rint(direction), np.diag(grid.direction)):
        raise InputError(
            f"The volume's axes {image.GetDirection()} are not the atlas's {grid.direction}, which the convention "
            "`released` needs: set preprocess.axes to the atlas file's axes (LAS for the published one)."
        )


def patch_starts(grid: LandmarkGrid, transform: sitk.Transform, image: sitk.Image) -> npt.NDArray[np.int64]:
    """Return where each landmark's patch begins in a subject's volume.

    ``centre``: floor(mapped centre - (patch_size - 1) / 2 + 0.5). ``released``: the voxel nearest to the mapped corner,
    halves upwards, which is SimpleITK's ``TransformPhysicalPointToIndex``.

    Parameters
    ----------
    grid : LandmarkGrid
        The atlas's landmarks.
    transform : SimpleITK transform
        Affine, atlas points to subject points.
    image : SimpleITK image
        The subject's volume; only its geometry is used.

    Returns
    -------
    (L, 3) int64 array
        Index (x, y, z) of each patch's first voxel; it may lie outside the volume.

    Raises
    ------
    InputError
        If the volume's spacing is not the grid's, or the convention is ``released`` and its axes are not the atlas's.
    """
    check_volume(grid, image)
    direction = np.reshape(image.GetDirection(), (3, 3))
    offset_mm = map_points(transform, grid.points_mm) - image.GetOrigin()
    index = offset_mm @ np.linalg.inv(direction * image.GetSpacing()).T
    to_corner = (grid.patch_size - 1) / 2 if grid.convention == "centre" else 0.0
    return np.floor(index - to_corner + 0.5).astype(np.int64)


def cut_patches(
    ct_hu: npt.NDArray[np.int16], starts_zyx: npt.NDArray[np.int64], patch_size: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Cut cubic patches out of a volume.

    Parameters
    ----------
    ct_hu : (Z, Y, X) int16 array
        The volume in HU.
    starts_zyx : (L, 3) int64 array
        Index (z, y, x) of each patch's first voxel, inside the volume or not.
    patch_size : int
        Edge P in voxels.

    Returns
    -------
    hu : (L, P, P, P) int16 array
        The patches; what lies outside the volume is -1024 HU.
    valid : (L,) bool array
        Whether the patch's centre lies inside the volume.
    """
    hu = np.full((len(starts_zyx), *[patch_size] * 3), OUTSIDE_HU, np.int16)
    shape = np.array(ct_hu.shape)
    begins, ends = np.clip(starts_zyx, 0, shape), np.clip(starts_zyx + patch_size, 0, shape)
    for patch, start, begin, end in zip(hu, starts_zyx, begins, ends, strict=True):
        patch[_box(begin - start, end - start)] = ct_hu[_box(begin, end)]
    return hu, centres_inside(starts_zyx, patch_size, ct_hu.shape)


def centres_inside(starts: npt.NDArray[np.int64], patch_size: int, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return whether the centre of each patch lies inside a volume, (L,) bool; all axes in one order."""
    centre = starts + (patch_size - 1) / 2
    return np.asarray(((centre > -0.5) & (centre < np.array(size) - 0.5)).all(axis=1))


def _box(begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> tuple[slice, ...]:
    # Both ends are held at 0: a patch beyond the volume copies nothing rather than counting from the far end.
    return tuple(slice(max(low, 0), max(high, 0)) for low, high in zip(begin, end, strict=True))


def check_valid(valid: npt.NDArray[np.bool_], max_invalid_fraction: float) -> None:
    """Refuse a subject of whom too many patches have their centre outside the volume.

    Parameters
    ----------
    valid : (L,) bool array
        As `cut_patches` returns it.
    max_invalid_fraction : float
        Largest fraction of False to accept.

    Raises
    ------
    QualityError
        If there are more.
    """
    invalid_fraction = 1 - valid.mean()
    if invalid_fraction > max_invalid_fraction:
        raise QualityError(
            f"{invalid_fraction:.1%} of the landmarks lie outside the scan, at most {max_invalid_fraction:.1%} may "
            "(patches.max_invalid_fraction): the field of view misses part of the lung, or registration failed."
        )


def write_patches(
    path: str | Path,
    hu: npt.NDArray[np.int16],
    index_zyx: npt.NDArray[np.int64],
    valid: npt.NDArray[np.bool_],
) -> None:
    """Write a subject's patches as a zarr v3 group of seven files, atomically.

    Parameters
    ----------
    path : path
        The store, ``patches.zarr``.
    hu : (L, P, P, P) int16 array
        Patches in HU; one landmark is one inner chunk, all of them lie in one file.
    index_zyx : (L, 3) int64 array
        Index (z, y, x) of each patch's first voxel in the subject's volume.
    valid : (L,) bool array
        Whether each patch's centre lies inside the volume.
    """
    import zarr  # 0.3 s of import that the other stages need not pay
    from zarr.codecs import Crc32cCodec

    with atomic_directory(path) as partial:
        group = zarr.create_group(partial, attributes={"hu_axes": "landmark, z, y, x", "outside_hu": OUTSIDE_HU})
        group.create_array(
            "hu",
            shape=hu.shape,
            dtype=np.int16,
            chunks=(1, *hu.shape[1:]),
            shards=hu.shape,
            compressors=[ct_compressor(), Crc32cCodec()],
            fill_value=OUTSIDE_HU,
            **WHOLE,
        )[:] = hu
        for name, values in (("index_zyx", index_zyx), ("valid", valid)):
            group.create_array(name, data=values, chunks=values.shape, compressors=checked_codecs(), **WHOLE)


def open_patches(path: str | Path) -> Store:
    """Open a subject's patches for reading: arrays ``hu``, ``index_zyx`` and ``valid`` of `write_patches`.

    Raises
    ------
    InputError
        If there is no such store.
    """
    try:
        return Store.open(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not a patch store: run the patches stage of this subject.") from error


def ct_compressor() -> Any:
    """Return the codec of HU arrays; byte shuffling makes it both faster and smaller than plain zstd on CT."""
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=2)
