"""Whether the slices of a DICOM series make one regular stack."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError
from drasclr_core.scan import checks as scan_checks
from drasclr_core.scan.dicom_header import Slice

_MOST_TILT_DEGREES = 0.5
_GAP_TOLERANCE = 0.1  # of the gap; more, up to _MOST_ROUNDING, where the header rounds its positions
_MOST_ROUNDING = 0.4  # of the gap: a slice that is missing moves others by half
_MOST_JUMP_MM = 0.5  # of a slice beside the others
_SPACING_TOLERANCE = 1e-3  # relative


def sort_stack(folder: Path, stack: list[Slice]) -> tuple[list[Slice], float]:
    """Return the slices sorted along their normal, and the distance between neighbours in mm.

    Raises
    ------
    InputError
        If there are too few, they keep their pixels differently or are of several sizes, or do not lie one behind the
        other at one distance; what the header's decimals explain is accepted.
    """
    if len(stack) < scan_checks.FEWEST_VOXELS:
        raise InputError(
            f"{folder}: the CT series has {len(stack)} slices, fewer than {scan_checks.FEWEST_VOXELS}: "
            "give a whole scan."
        )
    _check_alike(stack)
    normal = stack[0].normal
    stack = sorted(stack, key=lambda item: float(np.dot(item.position_mm, normal)))
    positions_mm = np.array([item.position_mm for item in stack])
    _check_double(folder, positions_mm @ normal)
    step_mm = _check_line(folder, stack, positions_mm, normal)
    return stack, step_mm


def _check_alike(stack: list[Slice]) -> None:
    """Refuse slices whose voxels are of another kind or size than most."""
    usual = Counter(item.pixels for item in stack).most_common(1)[0][0]
    spacing_mm = Counter(item.spacing_mm for item in stack).most_common(1)[0][0]
    for item in stack:
        if fault := item.pixels.differs_in(usual):
            raise InputError(f"{item.path}: has {fault}, unlike most slices of its series: give slices of one kind.")
        high_bit, stored = item.pixels.high_bit, item.pixels.bits_stored
        if high_bit and stored and int(high_bit) != int(stored) - 1:
            raise InputError(
                f"{item.path}: HighBit (0028,0102) is {high_bit}, BitsStored (0028,0101) {stored}, and such pixels "
                "cannot be read: convert the series so that HighBit is BitsStored - 1."
            )
        if not np.allclose(item.spacing_mm, spacing_mm, rtol=_SPACING_TOLERANCE, atol=0):
            raise InputError(
                f"{item.path}: PixelSpacing (0028,0030) is {_mm(item.spacing_mm)}, of most slices of its series "
                f"{_mm(spacing_mm)}: give slices of one size."
            )
    if not min(spacing_mm) > 0:
        raise InputError(
            f"{stack[0].path}: PixelSpacing (0028,0030) is {_mm(spacing_mm)}: correct it, or export the series again."
        )


def _check_double(folder: Path, along_mm: npt.NDArray[np.float64]) -> None:
    gaps_mm = np.diff(along_mm)
    apart_mm = gaps_mm[gaps_mm > 1e-3]
    usual_mm = float(np.median(apart_mm)) if len(apart_mm) else 0.0
    double = int((gaps_mm < _GAP_TOLERANCE * usual_mm).sum()) if usual_mm else len(gaps_mm)
    if double:
        raise InputError(
            f"{folder}: {double} slices lie where another lies already: remove duplicated slices, or give one phase "
            "alone."
        )


def _check_line(
    folder: Path, stack: list[Slice], positions_mm: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]
) -> float:
    """Return the distance between slices that lie on one line along their normal, at equal distances."""
    whole_mm = positions_mm[-1] - positions_mm[0]
    length_mm = float(whole_mm @ normal)
    tilt = math.degrees(math.atan2(float(np.linalg.norm(whole_mm - length_mm * normal)), length_mm))
    if tilt > _MOST_TILT_DEGREES:
        raise InputError(
            f"{folder}: the gantry was tilted by {tilt:.1f} degrees (at most {_MOST_TILT_DEGREES} is allowed): "
            "resample the scan to an upright stack first."
        )
    rounding_mm = _rounding_mm(stack, normal)
    shares = (positions_mm - positions_mm[0]) @ normal / length_mm
    beside_mm = np.linalg.norm(positions_mm - positions_mm[0] - np.outer(shares, whole_mm), axis=1)
    worst = int(beside_mm.argmax())
    if beside_mm[worst] > _MOST_JUMP_MM + 2 * rounding_mm:
        raise InputError(
            f"{stack[worst].path}: ImagePositionPatient (0020,0032) lies {beside_mm[worst]:.1f} mm beside the line of "
            "the other slices: give one scan, whose slices lie one behind the other."
        )
    step_mm = length_mm / (len(stack) - 1)
    off_mm = np.abs(shares * length_mm - step_mm * np.arange(len(stack))).max()
    if off_mm > min(max(_GAP_TOLERANCE * step_mm, 2 * rounding_mm), _MOST_ROUNDING * step_mm):
        gaps_mm = np.diff(shares) * length_mm
        raise InputError(
            f"{folder}: slices are missing: the gap between neighbours goes from {gaps_mm.min():.2f} to "
            f"{gaps_mm.max():.2f} mm, usually {np.median(gaps_mm):.2f} mm: give the complete series."
        )
    return step_mm


def _rounding_mm(stack: list[Slice], normal: npt.NDArray[np.float64]) -> float:
    """Return how far the decimals of the positions may put a slice from its place."""
    decimals = np.max([item.position_decimals for item in stack], axis=0)
    return float(np.abs(normal) @ (0.5 * 10.0**-decimals))


def _mm(values: tuple[float, ...]) -> str:
    return f"{' x '.join(f'{value:g}' for value in values)} mm"
