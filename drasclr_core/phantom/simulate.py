"""Synthetic chest CTs with known disease: a cartoon of a thorax in HU, its truth, and its participants row.

A subject depends on the seed and its own id alone, never on the size of the cohort, and its anatomy, disease and row
are the same at every voxel spacing: all is placed in millimetres before any voxel is painted.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.phantom_ids import phantom_index
from drasclr_core.phantom.disease import (
    SAMPLE_POINTS,
    Lesions,
    NoiseField,
    annotate_boxes,
    draw_lesions,
)
from drasclr_core.phantom.labels import Traits, draw_traits, participant_row, random_stream
from drasclr_core.phantom.shape import FIELD_OF_VIEW_MM, SIDES, Thorax, fissure_mm, lung_depth_mm, sample_lung_points
from drasclr_core.phantom.tissue import BLOOD_HU, LUMEN_HU, WALL_HU, Trees, draw_trees, paint_background
from drasclr_core.phantom.trees import Grid, ball_fraction, edge, tube_fraction

DEFAULT_SPACING_MM = (2.0, 2.0, 2.5)

_PARENCHYMA_HU, _HOLE_HU, _PANLOBULAR_DROP_HU = -872.0, -982.0, 95.0
_GRAVITY_HU = 18.0  # front to middle, middle to back
_SPACING_LIMITS_MM = (0.4, 8.0)
_MIN_HU, _MAX_HU = -1024, 3071
_MIDLINE_MM = 30.0  # no lung crosses the image's midline by more


@dataclass(frozen=True)
class Scanner:
    """How a phantom is scanned: reconstruction kernel (smooth or sharp) and standard deviation of the noise in HU."""

    kernel: str
    noise_sd_hu: float


@dataclass(frozen=True)
class Patient:
    """A phantom before it is scanned; `burdens` are true fractions of the lung, boxes are centres in mm, LPS."""

    participant_id: str
    index: int
    seed: int
    traits: Traits
    thorax: Thorax
    lesions: Lesions
    scanner: Scanner
    burdens: Mapping[str, float]
    boxes: list[dict[str, Any]]
    row: dict[str, Any]


@dataclass(frozen=True)
class Phantom:
    """One simulated scan.

    `ct` is int16 HU; `truth` uint8: 0 none, 1 centrilobular, 2 paraseptal, 3 panlobular, 4 ground glass; `lungs` uint8:
    1 right, 2 left. `row` is the participants row, `burdens` the true fraction of the lung per disease, `boxes` the
    annotated centres (mm, LPS) of 32 mm boxes.
    """

    ct: sitk.Image
    truth: sitk.Image
    lungs: sitk.Image
    row: dict[str, Any]
    burdens: Mapping[str, float]
    boxes: list[dict[str, Any]]
    scanner: Scanner


def simulate_subject(
    subject_id: str,
    seed: int,
    spacing_mm: tuple[float, float, float] = DEFAULT_SPACING_MM,
    scanner: Scanner | None = None,
) -> Phantom:
    """Simulate the scan of one phantom.

    Parameters
    ----------
    subject_id : str
        One of `drasclr_core.cohort.table.phantom_ids`. Its number gives the place in the low-discrepancy sequences that
        spread lung function, COVID involvement and scanners over any cohort.
    seed : int
        Seed of the cohort, 0 or more.
    spacing_mm : (3,) tuple
        Voxel spacing x, y, z.
    scanner : Scanner, optional
        Scan the same patient on this scanner instead of the patient's own.

    Raises
    ------
    InputError
        If the id is not a phantom's, the seed negative or the spacing out of range.
    """
    low, high = _SPACING_LIMITS_MM
    if len(spacing_mm) != 3 or not all(low <= step <= high for step in spacing_mm):
        raise InputError(f"spacing_mm: {spacing_mm} is not allowed; give three values from {low} to {high} mm")
    patient = draw_patient(subject_id, seed)
    return scan(patient, spacing_mm, scanner or patient.scanner)


def draw_patient(subject_id: str, seed: int) -> Patient:
    """Draw one phantom without scanning it (a fraction of a second): anatomy, disease, row; see `simulate_subject`."""
    index = phantom_index(subject_id)
    if seed < 0:
        raise InputError(f"seed: {seed} is negative; give 0 or more")
    traits = draw_traits(index, seed, random_stream(seed, index, "traits"))
    thorax = _draw_thorax(traits, random_stream(seed, index, "shape"))
    rng = random_stream(seed, index, "disease")
    points = sample_lung_points(thorax, SAMPLE_POINTS, rng)
    lesions = draw_lesions(thorax, traits.target_burdens, points, rng)
    burdens = lesions.burdens(thorax, points)
    boxes = [{"participant_id": subject_id, **box} for box in annotate_boxes(lesions, rng)]
    row = participant_row(subject_id, traits, burdens, random_stream(seed, index, "labels"))
    scanner = _draw_scanner(traits, random_stream(seed, index, "scanner"))
    return Patient(subject_id, index, seed, traits, thorax, lesions, scanner, burdens, boxes, row)


def scan(patient: Patient, spacing_mm: tuple[float, float, float], scanner: Scanner) -> Phantom:
    """Paint the patient into voxels and add what the scanner does."""
    shape = tuple(int(np.ceil(extent / step)) for extent, step in zip(FIELD_OF_VIEW_MM, spacing_mm, strict=True))
    grid = Grid((shape[2], shape[1], shape[0]), spacing_mm)
    trees = draw_trees(patient.thorax, patient.traits, random_stream(patient.seed, patient.index, "trees"))
    ct_hu = paint_background(patient.thorax, trees, grid)
    lungs, truth = _paint_lungs(ct_hu, patient, trees, grid)
    stored = _reconstruct(ct_hu, scanner, spacing_mm, random_stream(patient.seed, patient.index, "noise"))
    ct, truth_image, lungs_image = (_image(array, grid) for array in (stored, truth, lungs))
    return Phantom(ct, truth_image, lungs_image, patient.row, patient.burdens, patient.boxes, scanner)


def _draw_thorax(traits: Traits, rng: np.random.Generator) -> Thorax:
    """Draw a body; emphysema inflates the chest and flattens the diaphragm, obesity does the reverse."""
    emphysema = sum(share for name, share in traits.target_burdens.items() if name != "ground_glass")
    inflation = min(emphysema / 0.45, 1.0)
    size = (0.95 if traits.sex == "F" else 1.03) * rng.normal(1.0, 0.03)
    height = np.clip(size * rng.normal(250.0, 9.0) + 26.0 * inflation - 20.0 * traits.obesity, 190.0, 285.0)
    return Thorax(
        half_width_mm=float(np.clip(size * rng.normal(132.0, 4.0) + 2.0 * inflation, 112.0, 143.0)),
        half_depth_mm=float(np.clip(size * rng.normal(95.0, 4.0) + 10.0 * inflation, 78.0, 110.0)),
        height_mm=float(height),
        dome_mm=float(np.clip(rng.normal(50.0, 5.0) - 28.0 * inflation + 6.0 * traits.obesity, 14.0, 64.0)),
        base_mm=(
            float(rng.uniform(-8.0, 8.0)),
            float(rng.uniform(-8.0, 2.0)),
            float(-0.5 * height + rng.uniform(-10.0, 2.0)),
        ),
        tilt=(float(rng.normal(0.0, 0.02)), float(rng.normal(0.03, 0.03))),
        heart_scale=float(np.clip(size * rng.normal(0.94, 0.05), 0.8, 1.08)),
        muscle_mm=float(rng.uniform(13.0, 18.0)),
        fat_mm=float(5.0 + 17.0 * traits.obesity),
    )


def _draw_scanner(traits: Traits, rng: np.random.Generator) -> Scanner:
    typical = (52.0 if traits.sharp_kernel else 17.0) * (1.6 if traits.low_dose else 1.0) * (0.9 + 0.3 * traits.obesity)
    return Scanner("sharp" if traits.sharp_kernel else "smooth", round(float(typical * rng.uniform(0.9, 1.1)), 1))


def _paint_lungs(
    ct_hu: npt.NDArray[np.float32], patient: Patient, trees: Trees, grid: Grid
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Paint lungs and airways into `ct_hu`; return the masks of the lungs and of the disease."""
    lungs, truth = np.zeros(grid.shape, dtype=np.uint8), np.zeros(grid.shape, dtype=np.uint8)
    fills = [tube_fraction(trees.vessels, grid)]
    for holes in (patient.lesions.centrilobular, patient.lesions.paraseptal):
        fills.append(ball_fraction(holes.centres_mm, holes.radii_mm, grid))
    rng = random_stream(patient.seed, patient.index, "texture")
    textures = (NoiseField(14.0, rng), NoiseField(4.0, rng))
    for slab, (label, side) in itertools.product(grid.slabs(), SIDES.items()):
        part = (slab, slice(None), _half(grid, side))
        share, hu, labels = _paint_lung(patient, side, grid, part, [fill[part] for fill in fills], textures)
        ct_hu[part] += share * (hu - ct_hu[part])
        lung = share > 0.5
        lungs[part][lung] = label
        truth[part][lung] = labels[lung]
    del fills
    lumen = tube_fraction(trees.lumen, grid)
    ct_hu += np.maximum(tube_fraction(trees.airway, grid), lumen) * (WALL_HU - ct_hu)
    ct_hu += lumen * (LUMEN_HU - ct_hu)
    return lungs, truth


def _half(grid: Grid, side: int) -> slice:
    """Return the columns of one side of the body, and some beyond the midline."""
    columns = np.flatnonzero(side * grid.axes_mm()[0].ravel() > -_MIDLINE_MM)
    return slice(int(columns[0]), int(columns[-1]) + 1)


def _paint_lung(
    patient: Patient,
    side: int,
    grid: Grid,
    part: tuple[slice, slice, slice],
    fills: list[npt.NDArray[np.float32]],
    textures: tuple[NoiseField, NoiseField],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return, for one part of the volume, each voxel's share of lung, the HU of that lung, and its truth label."""
    x, y, z = grid.axes_mm()
    x, z = x[..., part[2]], z[part[0]]
    depth = lung_depth_mm(patient.thorax, side, x, y, z)
    share = edge(depth, max(grid.spacing_mm)).astype(np.float32)
    hu, labels = np.zeros(share.shape, dtype=np.float32), np.zeros(share.shape, dtype=np.uint8)
    voxels = np.nonzero(share)
    places = (x[0, 0, voxels[2]], y[0, voxels[1], 0], z[voxels[0], 0, 0])
    hu[voxels], labels[voxels] = _parenchyma(patient, depth[voxels], places, [f[voxels] for f in fills], textures)
    return share, hu, labels


def _parenchyma(
    patient: Patient,
    depth_mm: npt.NDArray[np.float32],
    places_mm: tuple[npt.NDArray[np.float32], ...],
    fills: list[npt.NDArray[np.float32]],
    textures: tuple[NoiseField, NoiseField],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return HU and truth label of lung voxels (V,), given their depth, place, and shares of vessel and holes."""
    thorax, (x, y, z) = patient.thorax, places_mm
    vessels, centrilobular, paraseptal = fills
    coarse, fine = (texture(*places_mm) for texture in textures)
    panlobular = patient.lesions.panlobular.extent(thorax, depth_mm, *places_mm)
    ground_glass = patient.lesions.ground_glass.extent(thorax, depth_mm, *places_mm) * (1.0 - panlobular)
    gravity = _GRAVITY_HU * (y - thorax.axis_mm(z)[1]) / thorax.half_depth_mm

    hu = _PARENCHYMA_HU + gravity + 9.0 * coarse + 17.0 * fine * (1.0 - 0.5 * panlobular)
    hu -= _PANLOBULAR_DROP_HU * panlobular
    hu += ground_glass * np.clip(250.0 + 45.0 * coarse + 25.0 * fine, 150.0, 350.0)
    hu += 130.0 * np.exp(-((fissure_mm(thorax, x, y, z) / 0.9) ** 2))
    hu += vessels * (1.0 - 0.55 * panlobular) * (BLOOD_HU - hu)
    holes = np.maximum(centrilobular, paraseptal)
    hu += holes * (_HOLE_HU + 6.0 * coarse - hu)

    labels = np.zeros(len(hu), dtype=np.uint8)
    labels[ground_glass > 0.5] = 4
    labels[panlobular > 0.5] = 3
    labels[centrilobular > 0.5] = 1
    labels[paraseptal > 0.5] = 2
    return hu.astype(np.float32), labels


def _reconstruct(
    ct_hu: npt.NDArray[np.float32], scanner: Scanner, spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Blur or sharpen, add the noise of the kernel, and round to int16 HU within the scanner's range."""
    blurred = ndimage.gaussian_filter(ct_hu, [1.1 / step for step in reversed(spacing_mm)], truncate=3.0)
    ct_hu = blurred if scanner.kernel == "smooth" else ct_hu + 0.6 * (ct_hu - blurred)
    noise = rng.standard_normal(ct_hu.shape, dtype=np.float32)
    if scanner.kernel == "smooth":
        noise = ndimage.gaussian_filter(noise, 0.6, truncate=3.0)
        noise /= noise.std()
    ct_hu += scanner.noise_sd_hu * noise
    return np.clip(np.rint(ct_hu), _MIN_HU, _MAX_HU).astype(np.int16)


def _image(array: npt.NDArray[Any], grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    return image
