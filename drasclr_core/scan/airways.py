"""Find the trachea and the main bronchi in a coarse chest CT, without leaking into the lungs."""

from bisect import bisect_left

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

BoolArray = npt.NDArray[np.bool_]

_LUMEN_HU = -750
_AREA_LIMITS_MM2 = (60.0, 800.0)
_OFF_CENTRE_MM = 45.0
_LEAST_FILL = 0.5  # area over bounding box; a disc has 0.79
_SHORTEST_MM = 20.0
_MOST_ML = 90.0
_THRESHOLDS_HU = range(-500, -1000, -20)


def find_airways(hu: npt.NDArray[np.float32], inside: BoolArray, spacing_mm: float) -> BoolArray:
    """Return the trachea and the main bronchi.

    A seed is looked for from the top: a compact central spot of air that goes on downwards. From it a region grows
    under the highest threshold at which it stays as small as airways are; the lungs would be ten times that.

    Parameters
    ----------
    hu : (Z, Y, X) float32 array
        Cubic voxels, axes LPS.
    inside : (Z, Y, X) bool array
        The body, its air included.
    spacing_mm : float
        Edge of a voxel, about 2 mm.

    Returns
    -------
    (Z, Y, X) bool array
        All False where no trachea is seen.
    """
    seed = _find_seed(hu, inside, spacing_mm)
    empty = np.zeros(hu.shape, dtype=bool)
    if seed is None:
        return empty
    image = sitk.GetImageFromArray(np.where(inside, hu, 0).astype(np.int16))
    most_voxels = _MOST_ML * 1000 / spacing_mm**3
    thresholds = [threshold for threshold in _THRESHOLDS_HU if threshold > hu[seed[::-1]]]

    def grow(threshold: int) -> BoolArray:
        return sitk.GetArrayFromImage(sitk.ConnectedThreshold(image, [seed], -3000, threshold)).astype(bool)

    # The lower the threshold, the smaller what grows under it.
    highest = bisect_left(thresholds, True, key=lambda threshold: grow(threshold).sum() <= most_voxels)
    return grow(thresholds[highest]) if highest < len(thresholds) else empty


def _find_seed(hu: npt.NDArray[np.float32], inside: BoolArray, spacing_mm: float) -> tuple[int, int, int] | None:
    """Return the (x, y, z) index of a voxel in the trachea, or None."""
    lumen = inside & (hu < _LUMEN_HU)
    steps = int(_SHORTEST_MM / spacing_mm)
    for z in range(len(hu) - 1, len(hu) // 4, -1):
        centre = float(np.flatnonzero(inside[z].any(axis=0)).mean()) if inside[z].any() else 0.0
        for spot in _spots(lumen[z], centre, spacing_mm):
            if _goes_on(lumen[max(z - steps, 0) : z], spot, centre, spacing_mm):
                y, x = np.argwhere(spot)[np.argmin(hu[z][spot])]
                return int(x), int(y), z
    return None


def _spots(lumen: BoolArray, centre: float, spacing_mm: float) -> list[BoolArray]:
    """Return the components of an axial slice that may be a section of the trachea."""
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(lumen.astype(np.uint8)))
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(labels)
    array = sitk.GetArrayFromImage(labels)
    spots = []
    for label in shapes.GetLabels():
        pixels = shapes.GetNumberOfPixels(label)
        _, _, width, height = shapes.GetBoundingBox(label)
        central = abs(shapes.GetCentroid(label)[0] - centre) * spacing_mm <= _OFF_CENTRE_MM
        sized = _AREA_LIMITS_MM2[0] <= pixels * spacing_mm**2 <= _AREA_LIMITS_MM2[1]
        compact = pixels >= _LEAST_FILL * width * height and max(width, height) <= 2.5 * min(width, height)
        if central and sized and compact:
            spots.append(array == label)
    return spots


def _goes_on(below: BoolArray, spot: BoolArray, centre: float, spacing_mm: float) -> bool:
    """Whether the spot, followed slice by slice downwards, stays a possible section of the trachea."""
    for lumen in below[::-1]:
        following = [other for other in _spots(lumen, centre, spacing_mm) if (other & spot).any()]
        if not following:
            return False
        spot = following[0]
    return len(below) > 0
