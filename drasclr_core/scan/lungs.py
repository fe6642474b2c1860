"""Segment the lungs, right and left, and measure the mask."""

import logging
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.base.errors import InputError, QualityError, is_machine_fault
from drasclr_core.scan import masks
from drasclr_core.scan.airways import find_airways
from drasclr_core.scan.images import coarse_copy
from drasclr_core.scan.lung_weights import import_lungmask
from drasclr_core.scan.masks import BoolArray

logger = logging.getLogger(__name__)

RIGHT, LEFT = 1, 2
_COARSE_MM = 2.0
_AIR_HU = -400  # halfway between aerated lung and chest wall
_WALL_HU = -600  # of a thin chest wall, averaged with the lung behind it and the air before it
_GAS_HU = -975  # median of bowel gas; emphysema stays above
_LEAST_DEPTH_MM = 18.0  # of a lung, from its surface to its innermost point; the foam core of a table is thinner
_CANDIDATES = 4  # largest regions of air that may be a lung: two lungs, the bowel, a table
_CONTACT_MM = 6.0  # half the depth over which a body may touch the table
_WALL_MM = 4.0  # around the lumen of an airway
_CLOSING_MM = 8.0  # vessels up to twice this wide belong to the lung
_LEAST_RATIO = 0.15  # of the larger lung's volume
_LEAST_DISTANCE_MM = 50.0  # between the centres of two lungs, left to right
_DEEPEST_CONTACT_MM = 24.0  # half the width over which two lungs may touch
_NETWORK_SLICES = 4  # at a time: 20, lungmask's default, take 3 GB
_MOST_BORDER_FRACTION = 0.3  # an ellipsoid cut there has lost 2 % of its volume
_FULL = 200  # a coarse voxel of lung, as a share that uint8 can hold


def segment_threshold(ct: sitk.Image) -> sitk.Image:
    """Segment the lungs by thresholds and morphology, no weights needed.

    On a 2 mm copy: body, air inside it, airways taken out, two lungs parted where they touch, vessels closed. The
    border is then refined by the CT's own voxels. Parenchyma without air (consolidation, effusion) is left out.

    Parameters
    ----------
    ct : sitk.Image
        HU, 3D, orthonormal direction of any orientation.

    Returns
    -------
    sitk.Image
        uint8 on the grid of `ct`: 1 the patient's right lung, 2 the left, 0 elsewhere.

    Raises
    ------
    QualityError
        If there is no lung.
    """
    coarse = coarse_copy(ct, _COARSE_MM)
    sides = _segment_coarse(sitk.GetArrayFromImage(coarse))
    return _refine(ct, coarse, sides)


def segment_lungmask(ct: sitk.Image, weights: Path, *, on_cpu: bool = False) -> sitk.Image:
    """Segment the lungs with lungmask's R231 network.

    Parameters
    ----------
    ct : sitk.Image
        HU, 3D, any orientation.
    weights : Path
        The network's weights, as `lung_weights.check_weights` returns them: checked once, not for every scan.
    on_cpu : bool
        Leave a GPU alone; otherwise it is used where there is one.

    Returns
    -------
    sitk.Image
        uint8 on the grid of `ct`: 1 the patient's right lung, 2 the left, 0 elsewhere.

    Raises
    ------
    InputError
        If the weights do not fit the network.

    References
    ----------
    Hofmanninger et al., "Automatic lung segmentation in routine imaging is primarily a data diversity problem, not a
    methodology problem", European Radiology Experimental 2020.
    """
    network = import_lungmask()
    try:
        inferer = network.LMInferer(
            modelpath=str(weights), force_cpu=on_cpu, batch_size=_NETWORK_SLICES, tqdm_disable=True
        )
    except RuntimeError as error:
        if is_machine_fault(error):
            raise
        raise InputError(f"{weights}: the weights do not fit lungmask's network: fetch R231 again.") from error
    lungs = sitk.GetImageFromArray(inferer.apply(ct))
    lungs.CopyInformation(ct)
    return lungs


def lung_metrics(
    mask: sitk.Image, *, least_lung_l: float = 0.5, most_border_fraction: float = _MOST_BORDER_FRACTION
) -> dict[str, float]:
    """Measure a lung mask, and refuse one that cannot be a patient's lungs.

    Parameters
    ----------
    mask : sitk.Image
        1 right, 2 left, 0 elsewhere.
    least_lung_l : float
        Both lungs together must hold more, in litres.
    most_border_fraction : float
        Highest `touches_border_fraction` allowed, 0 to 1; 1 allows lungs that are cut off anywhere.

    Returns
    -------
    dict
        ``right_lung_l``, ``left_lung_l``, ``lung_l`` (litres); ``touches_border_fraction``: lung on a face of the
        volume, as a share of the largest parallel cross-section of the lungs, at the worst of the six faces (0 where
        the lungs lie wholly inside).

    Raises
    ------
    QualityError
        If there is too little lung, or too much of it on the volume's faces; with what was measured.
    """
    array = sitk.GetArrayViewFromImage(mask)
    voxel_l = float(np.prod(mask.GetSpacing())) * 1e-6
    right_l, left_l = (int((array == label).sum()) * voxel_l for label in (RIGHT, LEFT))
    metrics = {"right_lung_l": right_l, "left_lung_l": left_l, "lung_l": right_l + left_l}
    if right_l + left_l <= least_lung_l:
        raise QualityError(
            f"the lungs hold {right_l + left_l:.2f} l, more than {least_lung_l:g} l is needed: is this a chest CT, "
            "with its lungs inside the field of view?",
            metrics,
        )
    face, border = _worst_face(array > 0, mask)
    metrics["touches_border_fraction"] = border
    if border > most_border_fraction:
        raise QualityError(
            f"the lungs are cut off: {border:.0%} of their cross-section lies on the {face} face of the volume, "
            f"at most {most_border_fraction:.0%} is allowed: give a scan of the whole lungs.",
            metrics,
        )
    return metrics


def _worst_face(lung: BoolArray, mask: sitk.Image) -> tuple[str, float]:
    """Return the volume's face with most lung, and how much: a share of the largest parallel cross-section.

    A mask may end a coarse voxel before the face, so the outermost layers count as the face.
    """
    fractions: dict[str, float] = {}
    for axis, (low, high) in enumerate((("bottom", "top"), ("front", "back"), ("right", "left"))):
        sections = lung.sum(axis=tuple({0, 1, 2} - {axis}))
        layers = 1 + math.ceil(_COARSE_MM / mask.GetSpacing()[2 - axis])
        outermost = np.array([sections[:layers].max(), sections[-layers:].max()])
        faces = (low, high) if mask.GetDirection()[4 * (2 - axis)] >= 0 else (high, low)
        fractions |= dict(zip(faces, outermost / sections.max(), strict=True))
    face = max(fractions, key=lambda name: fractions[name])
    return face, float(fractions[face])


def _segment_coarse(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    air = hu < _AIR_HU
    inside = _body(hu)
    airways = find_airways(hu, inside, _COARSE_MM)
    lungs = air & inside & ~masks.dilate(airways, _voxels(_WALL_MM))
    first, second = _part_lungs(lungs, hu)
    sides = np.zeros(hu.shape, dtype=np.uint8)
    for label, lung in _name_sides(first, second, inside):
        closed = _close_vessels(lung) & inside
        sides[closed & ((sides == 0) | lung)] = label
    return sides


def _body(hu: npt.NDArray[np.float32]) -> BoolArray:
    """Return the body, its air included, without table and clothes."""
    # Slices that are open at a thin wall are closed at the lower threshold, which adds a voxel of skin at most.
    filled = masks.fill_slices(hu >= _AIR_HU) | masks.erode(masks.fill_slices(hu >= _WALL_HU), 1)
    radius = _voxels(_CONTACT_MM)
    labels, _ = masks.components(masks.erode(filled, radius))
    return masks.dilate(labels == 1, radius) & filled


def _part_lungs(air: BoolArray, hu: npt.NDArray[np.float32]) -> tuple[BoolArray, BoolArray]:
    """Return the two lungs, the larger first; the second is empty where there is only one."""
    labels, sizes = masks.components(air)
    found = [label for label in range(1, min(len(sizes), _CANDIDATES) + 1) if _is_lung(labels == label, hu)]
    if not found:
        largest_l = int(sizes[0]) * _COARSE_MM**3 * 1e-6 if len(sizes) else 0.0
        raise QualityError(
            f"no lung found: the largest air space inside the body holds {largest_l:.2f} l and is not as "
            "deep or not as dense as a lung; is this a chest CT?"
        )
    first = labels == found[0]
    second = labels == found[1] if len(found) > 1 else np.zeros_like(first)
    if _are_pair(first, second):
        return first, second
    return _cut_apart(first)


def _is_lung(region: BoolArray, hu: npt.NDArray[np.float32]) -> bool:
    """Whether a region is neither gas in the bowel nor the foam core of a table."""
    if np.median(hu[region]) <= _GAS_HU:
        return False
    # Vessels count as lung here: between them no point is far from what is not air.
    closed = _close_vessels(region)
    return bool(masks.depth(closed[masks.bounding_slices(closed, 1)]).max() >= _voxels(_LEAST_DEPTH_MM))


def _cut_apart(both: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Part two lungs that touch: shrink until they come apart, then let both grow back to where they meet."""
    depths = masks.depth(both)
    for radius in range(1, _voxels(_DEEPEST_CONTACT_MM) + 1):
        labels, sizes = masks.components(both & (depths > radius))
        if len(sizes) > 1 and _are_pair(labels == 1, labels == 2):
            regions = masks.flood(depths, np.where(labels <= 2, labels, 0).astype(np.uint8), both)
            return regions == 1, regions == 2
    return both, np.zeros_like(both)


def _are_pair(first: BoolArray, second: BoolArray) -> bool:
    """Whether two regions may be a right and a left lung: similar in size, side by side."""
    if not second.any() or second.sum() < _LEAST_RATIO * first.sum():
        return False
    return abs(_centre_x(first) - _centre_x(second)) * _COARSE_MM >= _LEAST_DISTANCE_MM


def _name_sides(first: BoolArray, second: BoolArray, inside: BoolArray) -> list[tuple[int, BoolArray]]:
    """Return (label, lung) pairs; x grows towards the patient's left."""
    if not second.any():
        label = RIGHT if _centre_x(first) < _centre_x(inside) else LEFT
        logger.warning("only one lung found, taken for the %s", "right" if label == RIGHT else "left")
        return [(label, first)]
    right, left = sorted((first, second), key=_centre_x)
    return [(RIGHT, right), (LEFT, left)]


def _close_vessels(lung: BoolArray) -> BoolArray:
    radius = _voxels(_CLOSING_MM)
    box = masks.bounding_slices(lung, radius)
    closed = np.zeros_like(lung)
    closed[box] = masks.fill(masks.close(lung[box], radius))
    return closed


def _refine(ct: sitk.Image, coarse: sitk.Image, sides: npt.NDArray[np.uint8]) -> sitk.Image:
    """Carry the coarse mask to the grid of `ct`; near its border the voxel's own HU decides."""
    share = _on_grid(np.where(sides > 0, _FULL, 0).astype(np.uint8), coarse, ct, sitk.sitkLinear)
    side = _on_grid(_spread(sides), coarse, ct, sitk.sitkNearestNeighbor)
    border = (share >= _FULL // 4) & (sitk.GetArrayViewFromImage(ct) < _AIR_HU)
    side[~(border | (share >= 3 * _FULL // 4))] = 0
    lungs = sitk.GetImageFromArray(side)
    lungs.CopyInformation(ct)
    return lungs


def _on_grid(
    array: npt.NDArray[np.uint8], coarse: sitk.Image, ct: sitk.Image, interpolator: int
) -> npt.NDArray[np.uint8]:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(coarse)
    return sitk.GetArrayFromImage(sitk.Resample(image, ct, sitk.Transform(), interpolator, 0, sitk.sitkUInt8))


def _spread(sides: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the labels, each grown by a voxel where there was none."""
    grown = sides.copy()
    for label in (RIGHT, LEFT):
        grown[masks.dilate(sides == label, 1) & (grown == 0)] = label
    return grown


def _centre_x(mask: BoolArray) -> float:
    columns = mask.sum(axis=(0, 1))
    return float((columns * np.arange(columns.size)).sum() / columns.sum())


def _voxels(length_mm: float) -> int:
    return round(length_mm / _COARSE_MM)
