"""Operations on boolean arrays (z, y, x): SimpleITK's filters, array in and array out."""

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

BoolArray = npt.NDArray[np.bool_]


def dilate(mask: BoolArray, radius: int) -> BoolArray:
    """Return the mask grown by a ball of `radius` voxels."""
    return _to_mask(sitk.BinaryDilate(_to_image(mask), [radius] * 3, sitk.sitkBall))


def erode(mask: BoolArray, radius: int) -> BoolArray:
    """Return the mask shrunk by a ball of `radius` voxels; the volume's faces do not shrink it."""
    return _to_mask(sitk.BinaryErode(_to_image(mask), [radius] * 3, sitk.sitkBall, 0, 1, False))


def close(mask: BoolArray, radius: int) -> BoolArray:
    """Return the mask with gaps narrower than a ball of `radius` voxels filled."""
    return _to_mask(sitk.BinaryMorphologicalClosing(_to_image(mask), [radius] * 3, sitk.sitkBall, 1, True))


def fill_slices(mask: BoolArray) -> BoolArray:
    """Return the mask with the holes of every axial slice filled, also those that open into other slices."""
    filled = np.empty_like(mask)
    for index, plane in enumerate(mask):
        filled[index] = _to_mask(sitk.BinaryFillhole(_to_image(plane)))
    return filled


def fill(mask: BoolArray) -> BoolArray:
    """Return the mask with every hole filled that is enclosed on all sides."""
    return _to_mask(sitk.BinaryFillhole(_to_image(mask)))


def components(mask: BoolArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the connected components, largest first.

    Parameters
    ----------
    mask : (Z, Y, X) bool array
        Voxels are connected through faces.

    Returns
    -------
    (Z, Y, X) int64 array
        0 outside the mask, 1 in the largest component, 2 in the next.
    (n,) int64 array
        Voxels of component 1, 2, ...
    """
    relabel = sitk.RelabelComponentImageFilter()
    labels = relabel.Execute(sitk.ConnectedComponent(_to_image(mask)))
    sizes = np.array(relabel.GetSizeOfObjectsInPixels(), dtype=np.int64)
    return sitk.GetArrayFromImage(labels).astype(np.int64), sizes


def depth(mask: BoolArray) -> npt.NDArray[np.float32]:
    """Return each voxel's distance, in voxels, to the border of the mask: positive inside, negative outside."""
    distance = sitk.SignedMaurerDistanceMap(_to_image(mask), insideIsPositive=True, squaredDistance=False)
    return sitk.GetArrayFromImage(distance)


def flood(depths: npt.NDArray[np.float32], markers: npt.NDArray[np.uint8], mask: BoolArray) -> npt.NDArray[np.uint8]:
    """Share out the mask among `markers`, the borders running where the mask is narrowest.

    Parameters
    ----------
    depths : (Z, Y, X) float32 array
        As `depth` gives them.
    markers : (Z, Y, X) uint8 array
        Labels from which the regions grow, 0 elsewhere.
    mask : (Z, Y, X) bool array
        What is shared out.

    Returns
    -------
    (Z, Y, X) uint8 array
        The marker each voxel of the mask belongs to, 0 outside.
    """
    relief, seeds = sitk.GetImageFromArray(-depths), sitk.GetImageFromArray(markers)
    regions = sitk.MorphologicalWatershedFromMarkers(relief, seeds, markWatershedLine=False)
    return np.where(mask, sitk.GetArrayFromImage(regions), 0).astype(np.uint8)


def bounding_slices(mask: BoolArray, margin: int) -> tuple[slice, ...]:
    """Return the slices of the smallest box around a mask that is not empty, `margin` voxels wider."""
    slices = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(max(int(used[0]) - margin, 0), min(int(used[-1]) + margin + 1, size)))
    return tuple(slices)


def _to_image(mask: BoolArray) -> sitk.Image:
    return sitk.GetImageFromArray(mask.astype(np.uint8))


def _to_mask(image: sitk.Image) -> BoolArray:
    return sitk.GetArrayFromImage(image).astype(bool)
