"""Lung masks on a coarse grid, as the registration compares them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

MARGIN_MM = 24.0


@dataclass(frozen=True)
class CoarseLungs:
    """A lung mask averaged over blocks of voxels, cropped to the lungs and a margin.

    Attributes
    ----------
    fraction : SimpleITK image, float32
        Share of each voxel that is lung, 0 to 1.
    sides : SimpleITK image, float32, or None
        Share of left lung minus share of right lung; None where the mask does not tell them apart. The two lungs
        differ most this way, and weigh the same.
    centroid_mm, spread_mm : (3,) float64
        Mean and standard deviation of the lung's position along x, y, z (LPS).
    volume_mm3 : float
        Volume of the lung.
    """

    fraction: sitk.Image
    sides: sitk.Image | None
    centroid_mm: npt.NDArray[np.float64]
    spread_mm: npt.NDArray[np.float64]
    volume_mm3: float


def coarse_lungs(mask: sitk.Image, spacing_mm: float) -> CoarseLungs | None:
    """Average a lung mask over blocks of about `spacing_mm`; None if the mask is empty.

    Two label values above 0 are the right (lower) and the left lung; any other number of values is just lung.
    """
    labels = sitk.GetArrayViewFromImage(mask)
    edges_mm = np.array(mask.GetSpacing())[::-1]  # from here to the images, axes are (z, y, x)
    factors = np.maximum(1, np.rint(spacing_mm / edges_mm)).astype(int)
    box = _lung_box(labels > 0)
    if box is None:
        return None
    margin = np.ceil(MARGIN_MM / edges_mm).astype(int)
    start = box[0] - margin
    shape = -(-(box[1] + margin - start) // factors) * factors  # whole blocks
    labels = _crop(labels, start, shape)
    sides = _sides(labels)
    first_centre = (start + (factors - 1) / 2)[::-1].tolist()
    geometry = sitk.Image(1, 1, 1, sitk.sitkUInt8)
    geometry.SetOrigin(mask.TransformContinuousIndexToPhysicalPoint(first_centre))
    geometry.SetSpacing((edges_mm * factors)[::-1].tolist())
    geometry.SetDirection(mask.GetDirection())
    fraction = _block_means(labels > 0, factors, geometry)
    centroid_mm, spread_mm = _moments(fraction)
    return CoarseLungs(
        fraction=fraction,
        sides=None if sides is None else _block_means(sides, factors, geometry),
        centroid_mm=centroid_mm,
        spread_mm=spread_mm,
        volume_mm3=float(sitk.GetArrayViewFromImage(fraction).sum(dtype=np.float64) * np.prod(fraction.GetSpacing())),
    )


def side_values(labels: npt.NDArray[Any]) -> dict[str, int] | None:
    """Return the label values of the ``right`` (the lower) and ``left`` lung; None unless exactly two are above 0."""
    lung = labels[labels > 0]
    if not lung.size:
        return None
    right, left = lung.min(), lung.max()
    if right == left or not ((lung == right) | (lung == left)).all():
        return None
    return {"right": right.item(), "left": left.item()}


def _lung_box(lung: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
    """Return the first and one past the last (z, y, x) index that holds lung."""
    bounds = []
    for axis in range(3):
        held = np.flatnonzero(lung.any(axis=tuple({0, 1, 2} - {axis})))
        if len(held) == 0:
            return None
        bounds.append((held[0], held[-1] + 1))
    return np.array(bounds).T


def _crop(labels: npt.NDArray[Any], start: npt.NDArray[np.int64], shape: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Cut a box that may reach beyond the array; 0 outside."""
    box = np.zeros(shape, labels.dtype)
    low, high = np.maximum(start, 0), np.minimum(start + shape, labels.shape)
    inner = tuple(map(slice, low - start, high - start))
    box[inner] = labels[tuple(map(slice, low, high))]
    return box


def _sides(labels: npt.NDArray[Any]) -> npt.NDArray[np.int8] | None:
    """Return -1 in the right lung and 1 in the left, or None where `side_values` does."""
    values = side_values(labels)
    if values is None:
        return None
    return (labels == values["left"]).astype(np.int8) - (labels == values["right"]).astype(np.int8)


def _block_means(values: npt.NDArray[Any], factors: npt.NDArray[np.int64], geometry: sitk.Image) -> sitk.Image:
    blocks = np.stack([values.shape // factors, factors], axis=1).ravel()
    image = sitk.GetImageFromArray(values.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32))
    image.SetOrigin(geometry.GetOrigin())
    image.SetSpacing(geometry.GetSpacing())
    image.SetDirection(geometry.GetDirection())
    return image


def _moments(fraction: sitk.Image) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the centroid and the standard deviation along the patient's axes, (x, y, z) in mm."""
    weights = sitk.GetArrayViewFromImage(fraction)
    place = np.argwhere(weights > 0)
    weight = weights[weights > 0].astype(np.float64)
    axes_mm = np.reshape(fraction.GetDirection(), (3, 3)) * fraction.GetSpacing()
    points_mm = place[:, ::-1] @ axes_mm.T + fraction.GetOrigin()
    centroid_mm = np.average(points_mm, axis=0, weights=weight)
    return centroid_mm, np.sqrt(np.average((points_mm - centroid_mm) ** 2, axis=0, weights=weight))
