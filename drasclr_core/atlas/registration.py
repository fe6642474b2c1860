"""Affine registration of a subject's lung mask to the atlas's, with ANTs.

Points are (x, y, z) in LPS millimetres. A transform maps atlas points to subject points.
"""

import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.base.errors import DamagedError, InputError, QualityError, is_machine_fault
from drasclr_core.base.files import atomic_path, undamaged
from drasclr_core.scan.lung_images import CoarseLungs, coarse_lungs

logger = logging.getLogger(__name__)

MAX_STARTS = 4
MAX_START_ROTATION_DEG = 25.0

# Chosen by measurement (docs/benchmarks.md): on a quarter of the voxels mean squares is twice as accurate as mutual
# information and cheaper; all voxels and more iterations gain 0.02 mm for more than three times the cost.
ANTS_OPTIONS = {
    "aff_metric": "MeanSquares",
    "aff_random_sampling_rate": 0.25,
    "aff_iterations": (100, 100, 30),
    "aff_shrink_factors": (4, 2, 1),
    "aff_smoothing_sigmas": (2, 1, 0),
    "singleprecision": False,
}


@dataclass(frozen=True)
class RegistrationLimits:
    """What a registration must measure to be believed.

    Attributes
    ----------
    min_dice : float
        Smallest Dice overlap of the two lung masks.
    determinant : (low, high)
        Range of the subject's volume over the atlas's; negative means a mirror image.
    scale : (low, high)
        Range of the affine's three stretches.
    max_centroid_distance_mm : float
        Largest distance from the subject's lung centroid to where the atlas's is mapped.
    """

    min_dice: float = 0.8
    determinant: tuple[float, float] = (0.2, 5.0)
    scale: tuple[float, float] = (0.5, 2.0)
    max_centroid_distance_mm: float = 30.0


@dataclass(frozen=True)
class Registration:
    """A subject's place in the atlas.

    Attributes
    ----------
    transform : SimpleITK AffineTransform
        Atlas points to subject points, LPS millimetres.
    metrics : dict
        dice, determinant, scale_min, scale_max, rotation_deg, centroid_distance_mm, starts_tried.
    """

    transform: sitk.AffineTransform
    metrics: dict[str, float]


def register_to_atlas(
    subject_lungs: sitk.Image,
    atlas_lungs: sitk.Image,
    *,
    spacing_mm: float = 4.0,
    seed: int = 0,
    limits: RegistrationLimits | None = None,
) -> Registration:
    """Find the affine transform from atlas points to subject points.

    The masks are averaged to a coarse grid, so that their edges keep sub-voxel positions, and registered by mean
    squares from a start at equal centroids and equal spread along each axis. Where both masks tell right from left
    (two label values, the lower being the right lung), so does the registration. Only if the result misses `limits`
    are further, rotated starts tried. Runs on one ITK thread: the same input gives the same transform, bit for bit.

    Parameters
    ----------
    subject_lungs, atlas_lungs : SimpleITK images
        Lung masks, 0 outside.
    spacing_mm : float
        Voxel edge at which the masks are compared.
    seed : int
        Seed of ANTs' sampling and of the further starts, 0 or more.
    limits : RegistrationLimits, optional
        What the result must measure.

    Returns
    -------
    Registration

    Raises
    ------
    InputError
        If the atlas mask is empty.
    QualityError
        If the subject's mask is empty, or no start leads to a result within the limits; with the best one's metrics.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 2.1.
    """
    limits = limits or RegistrationLimits()
    fixed, moving = coarse_lungs(atlas_lungs, spacing_mm), coarse_lungs(subject_lungs, spacing_mm)
    if fixed is None:
        raise InputError("The atlas lung mask is empty: choose another atlas, or check its segmentation.")
    if moving is None:
        raise QualityError("The lung mask is empty: 0 lung voxels, at least 1 is needed.")
    best: Registration | None = None
    for start in range(MAX_STARTS):
        transform = _run_ants(fixed, moving, _start_transform(fixed, moving, seed, start), seed)
        if transform is None:
            continue
        found = Registration(transform, {**_measure(transform, fixed, moving), "starts_tried": start + 1})
        missed = _faults(found.metrics, limits)
        if not missed:
            return found
        logger.info("registration start %d of %d: %s", start + 1, MAX_STARTS, "; ".join(missed))
        if best is None or found.metrics["dice"] > best.metrics["dice"]:
            best = found
    faults = "; ".join(_faults(best.metrics, limits)) if best else "ANTs found no overlap"
    message = f"no affine to the atlas is good enough after {MAX_STARTS} starts: {faults}."
    raise QualityError(message, best.metrics if best else None)


def write_transform(registration: Registration, path: str | Path) -> None:
    """Write the transform (atlas point to subject point) as ANTs' binary ``.mat``, atomically.

    Raises
    ------
    OSError
        If the file is not whole: ITK says nothing of a disk that is full.
    """
    with atomic_path(path) as partial:
        sitk.WriteTransform(registration.transform, str(partial))
        try:
            read_transform(partial)
        except DamagedError as error:
            raise OSError(errno.EIO, "the transform could not be written: is the disk full?", str(path)) from error


def read_transform(path: str | Path) -> sitk.AffineTransform:
    """Read an affine transform (atlas point to subject point), ours or ANTs' ``0GenericAffine.mat``.

    Raises
    ------
    DamagedError
        If the file is missing, holds no affine transform, or another one than the record beside it tells of.
    """
    try:
        return sitk.AffineTransform(sitk.ReadTransform(str(undamaged(path))))
    except (RuntimeError, FileNotFoundError) as error:
        raise DamagedError(path, "no affine transform") from error


def _start_transform(fixed: CoarseLungs, moving: CoarseLungs, seed: int, start: int) -> sitk.AffineTransform:
    """Return the affine that equalises centroid and spread; turned at random from the second start on."""
    stretch = np.diag(moving.spread_mm / fixed.spread_mm)
    if start > 0:
        limit = np.deg2rad(MAX_START_ROTATION_DEG)
        angles = np.random.default_rng([seed, start]).uniform(-limit, limit, 3)
        stretch = np.reshape(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix(), (3, 3)) @ stretch
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(stretch.ravel())
    affine.SetCenter(fixed.centroid_mm)
    affine.SetTranslation(moving.centroid_mm - fixed.centroid_mm)
    return affine


def _run_ants(
    fixed: CoarseLungs, moving: CoarseLungs, start: sitk.AffineTransform, seed: int
) -> sitk.AffineTransform | None:
    """Refine `start` with ANTs; None if ANTs gives up (masks that do not overlap, say)."""
    # ANTs takes a seed of 0 as leave to use the clock.
    with _environment(ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS="1", ANTS_RANDOM_SEED=str(seed + 1)):
        import ants  # 3 s; ITK reads its number of threads once, when it is first needed

        images = (fixed.sides, moving.sides) if fixed.sides and moving.sides else (fixed.fraction, moving.fraction)
        with tempfile.TemporaryDirectory(prefix="drasclr-ants-") as folder:
            initial = f"{folder}/start.mat"
            sitk.WriteTransform(start, initial)
            try:
                result = ants.registration(
                    *(ants.from_sitk(image) for image in images),
                    "Affine",
                    initial_transform=initial,
                    outprefix=f"{folder}/",
                    **ANTS_OPTIONS,
                )
            except RuntimeError as error:
                if is_machine_fault(error):
                    raise
                logger.info("ANTs gave up: %s", error)
                return None
            return read_transform(result["fwdtransforms"][0])


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables, which is how ITK takes these options, for the block alone."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _measure(transform: sitk.AffineTransform, fixed: CoarseLungs, moving: CoarseLungs) -> dict[str, float]:
    matrix = np.reshape(transform.GetMatrix(), (3, 3))
    left, scales, right = np.linalg.svd(matrix)
    distance = np.linalg.norm(moving.centroid_mm - transform.TransformPoint(fixed.centroid_mm))
    metrics = {
        "dice": _dice(transform, fixed, moving),
        "determinant": np.linalg.det(matrix),
        "scale_min": scales[-1],
        "scale_max": scales[0],
        "rotation_deg": _rotation_deg(left @ right),
        "centroid_distance_mm": distance,
    }
    return {name: float(value) for name, value in metrics.items()}


def _rotation_deg(rotation: npt.NDArray[np.float64]) -> float:
    return float(np.rad2deg(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def _dice(transform: sitk.AffineTransform, fixed: CoarseLungs, moving: CoarseLungs) -> float:
    """Return the Dice overlap in atlas space, on the atlas's coarse grid."""
    mapped = sitk.GetArrayFromImage(sitk.Resample(moving.fraction, fixed.fraction, transform, sitk.sitkLinear, 0.0))
    both = (mapped > 0.5) & (sitk.GetArrayViewFromImage(fixed.fraction) > 0.5)
    # Lung that is mapped beyond the grid counts as well, so its volume comes from the determinant, not from the grid.
    mapped_mm3 = moving.volume_mm3 / abs(np.linalg.det(np.reshape(transform.GetMatrix(), (3, 3))))
    overlap_mm3 = both.sum() * np.prod(fixed.fraction.GetSpacing())
    return min(1.0, float(2 * overlap_mm3 / (fixed.volume_mm3 + mapped_mm3)))


def _faults(metrics: dict[str, float], limits: RegistrationLimits) -> list[str]:
    """Say which limits are missed, each with its measurement."""
    ranges = {
        "dice": (limits.min_dice, np.inf),
        "determinant": limits.determinant,
        "scale_min": (limits.scale[0], np.inf),
        "scale_max": (-np.inf, limits.scale[1]),
        "centroid_distance_mm": (-np.inf, limits.max_centroid_distance_mm),
    }
    return [
        f"{name} is {metrics[name]:.3g}, allowed {low:g} to {high:g}"
        for name, (low, high) in ranges.items()
        if not low <= metrics[name] <= high
    ]
