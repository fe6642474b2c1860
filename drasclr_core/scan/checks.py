"""What a volume must satisfy to be taken for a chest CT in Hounsfield units.

Every check raises an InputError of its own that names the scan, the value found, the limit, and what to do.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError

UNKNOWN_SIDES = "so right and left of the patient are unknown: convert the original scan again, or add the orientation."
AIR_HU = -1024
HIGHEST_HU = 3071
SPACING_LIMITS_MM = (0.2, 12.0)
EXTENT_LIMITS_MM = (100.0, 2500.0)
FEWEST_VOXELS = 10
MOST_VOXELS = 1_200_000_000
SKEW_TOLERANCE = 2e-3  # cosine of the angle between two axes: 0.8 mm over 400 mm
HISTOGRAM_LOWEST_HU = -8192
HISTOGRAM_BINS = 32768
_AIR_RANGE_HU = (-1100, -700)
_TISSUE_RANGE_HU = (-200, 300)
_LEAST_AIR = 0.02
_LEAST_TISSUE = 0.05
_MOST_BELOW_AIR = 0.05
_MOST_BEYOND = 0.005  # of the voxels above the histogram's end: metal is none of them


def check_voxel_kind(scan: str, told: str, is_real: bool) -> None:
    """Refuse voxels that are no single real number; `told` says what they are."""
    if not is_real:
        raise InputError(f"{scan}: a voxel is {told}, a CT has one real number: give the grey-scale volume.")


def check_size(scan: str, size: Sequence[int]) -> None:
    """Refuse what is not three-dimensional, too small to be a chest, or too large to be a CT.

    Parameters
    ----------
    scan : str
        Name of the scan in messages.
    size : sequence of int
        Voxels per axis, as the header states them.

    Raises
    ------
    InputError
        If the size is out of range; called before any voxel is read, so that a header cannot fill the memory.
    """
    if len(size) != 3:
        raise InputError(f"{scan}: the image has {len(size)} dimensions, a CT volume has 3: give one 3D volume.")
    if min(size) < FEWEST_VOXELS:
        raise InputError(
            f"{scan}: the volume is {_times(size)} voxels, fewer than {FEWEST_VOXELS} along an axis: give a whole scan."
        )
    if math.prod(size) > MOST_VOXELS:
        raise InputError(
            f"{scan}: the header claims {_times(size)} voxels, more than the {MOST_VOXELS:,} any CT has: "
            "check that the file is what it should be."
        )


def check_spacing(scan: str, size: Sequence[int], spacing_mm: Sequence[float]) -> None:
    """Refuse voxel sizes, and lengths of the whole volume, that no chest CT has (all in mm)."""
    lowest, highest = SPACING_LIMITS_MM
    if not all(lowest <= value <= highest for value in spacing_mm):
        raise InputError(
            f"{scan}: the voxel spacing is {_times(spacing_mm)} mm, allowed is {lowest:g} to {highest:g} mm per axis: "
            "correct the spacing in the header (is it in metres or centimetres?)."
        )
    extent_mm = [count * value for count, value in zip(size, spacing_mm, strict=True)]
    lowest, highest = EXTENT_LIMITS_MM
    if not all(lowest <= value <= highest for value in extent_mm):
        raise InputError(
            f"{scan}: the volume measures {_times(extent_mm)} mm, a chest CT measures {lowest:g} to {highest:g} mm "
            "per axis: give the whole thorax, and check the spacing in the header."
        )


def orthonormal_direction(scan: str, direction: Sequence[float]) -> tuple[float, ...]:
    """Return the nearest orthonormal direction, or refuse a sheared one.

    Parameters
    ----------
    scan : str
        Name of the scan in messages.
    direction : sequence of 9 float
        Row-major 3 x 3 matrix; its columns are the volume's axes, of any positive length.

    Returns
    -------
    tuple of 9 float
        Row-major, columns orthonormal to machine precision.

    Raises
    ------
    InputError
        If two axes are further from a right angle than `SKEW_TOLERANCE` (a cosine), or an axis has no length.
    """
    matrix = np.array(direction, dtype=np.float64).reshape(3, 3)
    lengths = np.linalg.norm(matrix, axis=0)
    if not (np.isfinite(lengths).all() and lengths.min() > 0):
        raise InputError(f"{scan}: the direction of the axes is not a matrix of full rank: correct the header.")
    matrix = matrix / lengths
    skew = float(np.abs(matrix.T @ matrix - np.eye(3)).max())
    if skew > SKEW_TOLERANCE:
        angle = 90 - math.degrees(math.acos(min(skew, 1.0)))
        raise InputError(
            f"{scan}: the axes are sheared by {angle:.2f} degrees (cosine {skew:.4f}, at most {SKEW_TOLERANCE:g} is "
            "allowed): resample the volume to orthogonal axes first (a tilted gantry is a usual cause)."
        )
    left, _, right = np.linalg.svd(matrix)
    return tuple(float(value) for value in (left @ right).ravel())


def to_hu(scan: str, values: npt.NDArray[np.generic]) -> npt.NDArray[np.int16]:
    """Return checked Hounsfield units as int16, clipped to [-1024, 3071].

    Parameters
    ----------
    scan : str
        Name of the scan in messages.
    values : (Z, Y, X) array
        Voxels as stored, integer or floating; converted slice by slice, so that memory stays near the result's.

    Returns
    -------
    (Z, Y, X) int16 array
        HU; padding outside the field of view (-2048, -3024) has become -1024.

    Raises
    ------
    InputError
        If a voxel is NaN or infinite, or the values cannot be those of a chest CT (see `check_hu`).
    """
    hu = np.empty(values.shape, dtype=np.int16)
    constant, repeated = (np.zeros(len(values), dtype=bool) for _ in range(2))
    counts = np.zeros(HISTOGRAM_BINS, dtype=np.int64)
    for index, stored in enumerate(values):
        check_finite(scan, stored, stored.size, index * stored.size)
        rounded = np.rint(np.clip(stored, HISTOGRAM_LOWEST_HU, HISTOGRAM_LOWEST_HU + HISTOGRAM_BINS - 1))
        bins = rounded.astype(np.int32) - HISTOGRAM_LOWEST_HU
        counts += np.bincount(bins.ravel(), minlength=HISTOGRAM_BINS)
        hu[index] = np.clip(rounded, AIR_HU, HIGHEST_HU)
        constant[index] = bool((hu[index] == hu[index, 0, 0]).all())
        repeated[index] = bool(index) and not constant[index] and np.array_equal(hu[index], hu[index - 1])
    check_hu(scan, counts)
    _check_blank(scan, constant, hu[:, 0, 0])
    if 0 < repeated.sum() < len(hu) - 1:
        first = int(np.flatnonzero(repeated)[0])
        raise InputError(
            f"{scan}: {int(repeated.sum())} slices are the one before once more, voxel by voxel, which noise lets no "
            f"scan be (slice {first} is slice {first - 1}): export or convert the original scan again."
        )
    return hu


def _check_blank(scan: str, constant: npt.NDArray[np.bool_], hu: npt.NDArray[np.int16]) -> None:
    """Refuse slices of one value, but for air above or below the scan: a decoder's failure, or a slice that is lost."""
    seen = np.flatnonzero(~constant)
    inside = np.arange(len(constant))
    lost = constant & (((inside > seen.min()) & (inside < seen.max())) | (hu > _AIR_RANGE_HU[1]))
    if lost.any():
        first = int(np.flatnonzero(lost)[0])
        raise InputError(
            f"{scan}: {int(lost.sum())} slices hold one value each (slice {first} is {hu[first]} HU throughout): "
            "export or convert the original scan again."
        )


def check_finite(scan: str, values: npt.NDArray[np.generic], plane: int, before: int) -> None:
    """Refuse NaN and infinities; `plane` voxels make a slice, and `before` voxels were checked before these."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    first = int(np.flatnonzero(~np.isfinite(values.ravel()))[0])
    kind = "NaN" if np.isnan(values.ravel()[first]) else "infinite values"
    raise InputError(f"{scan}: slice {(before + first) // plane} holds {kind}: convert the original scan again.")


def check_hu(scan: str, counts: npt.NDArray[np.int64]) -> None:
    """Refuse voxel values that cannot be Hounsfield units of a chest.

    Parameters
    ----------
    scan : str
        Name of the scan in messages.
    counts : (HISTOGRAM_BINS,) int64 array
        Number of voxels of each value as stored, from `HISTOGRAM_LOWEST_HU` upwards in steps of 1.

    Raises
    ------
    InputError
        If the volume is constant, an 8-bit window, offset by 1024, scaled twice, or lacks air or soft tissue.
    """
    present = np.flatnonzero(counts) + HISTOGRAM_LOWEST_HU
    lowest, highest = int(present[0]), int(present[-1])
    values = f"its values go from {lowest} to {highest}"
    if lowest == highest:
        raise InputError(f"{scan}: every voxel is {lowest}: the volume is empty; give the original scan.")
    if highest - lowest < 256:
        raise InputError(
            f"{scan}: {values}, which is an 8-bit picture of one window, not Hounsfield units: give the original scan."
        )
    if lowest >= 0:
        raise InputError(
            f"{scan}: {values}, so air is not near -1000 HU (unsigned values keep an offset, mostly 1024): "
            "apply the rescale intercept before converting the scan."
        )
    _check_peaks(scan, counts, lowest, values)


def _check_peaks(scan: str, counts: npt.NDArray[np.int64], lowest: int, values: str) -> None:
    inside = counts.copy()
    if lowest < _AIR_RANGE_HU[0]:
        inside[lowest - HISTOGRAM_LOWEST_HU] = 0  # padding outside the field of view
    air = _share(inside, *_AIR_RANGE_HU)
    tissue = _share(inside, *_TISSUE_RANGE_HU)
    below = _share(inside, HISTOGRAM_LOWEST_HU, _AIR_RANGE_HU[0] - 1)
    end = HISTOGRAM_LOWEST_HU + HISTOGRAM_BINS - 1
    beyond = _share(counts, end, end)
    if beyond > _MOST_BEYOND:
        raise InputError(
            f"{scan}: {beyond:.1%} of the voxels lie at {end} HU or above (at most {_MOST_BEYOND:.1%} is allowed): are "
            "negative values, such as the padding outside the field of view, kept as unsigned ones? Convert the "
            "original scan as signed."
        )
    advice = "apply rescale slope and intercept exactly once."
    if below > _MOST_BELOW_AIR:
        raise InputError(
            f"{scan}: {values}, and {below:.0%} of the voxels lie below air ({_AIR_RANGE_HU[0]} HU; at most "
            f"{_MOST_BELOW_AIR:.0%} is allowed): {advice}"
        )
    if air < _LEAST_AIR:
        raise InputError(
            f"{scan}: {values}, but only {air:.1%} of the voxels are air or lung ({_AIR_RANGE_HU[0]} to "
            f"{_AIR_RANGE_HU[1]} HU; a chest has at least {_LEAST_AIR:.0%}): is this a chest CT? If so, {advice}"
        )
    if tissue < _LEAST_TISSUE:
        raise InputError(
            f"{scan}: {values}, but only {tissue:.1%} of the voxels are soft tissue ({_TISSUE_RANGE_HU[0]} to "
            f"{_TISSUE_RANGE_HU[1]} HU; a chest has at least {_LEAST_TISSUE:.0%}): is this a chest CT? If so, {advice}"
        )


def _share(counts: npt.NDArray[np.int64], lowest_hu: int, highest_hu: int) -> float:
    first = lowest_hu - HISTOGRAM_LOWEST_HU
    return float(counts[first : highest_hu - HISTOGRAM_LOWEST_HU + 1].sum() / max(counts.sum(), 1))


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
