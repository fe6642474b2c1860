"""The diseases of a phantom, placed in millimetres and so the same at every voxel spacing.

Centrilobular and paraseptal emphysema are holes (balls); panlobular emphysema and ground glass are smooth fields from
0 to 1. The truth is where a hole fills more than half of a voxel, or a field is above one half.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from drasclr_core.cohort.table import BOX_SIZE_MM
from drasclr_core.phantom.labels import DISEASES
from drasclr_core.phantom.shape import (
    FIELD_OF_VIEW_MM,
    Thorax,
    fissure_mm,
    inward_normals,
    lung_depth_of,
    sample_lung_points,
)

Points = npt.NDArray[np.float64]
Array = npt.NDArray[np.floating]

SAMPLE_POINTS = 16_000
_CANDIDATES = 20_000  # places where a hole may be
_BLOCK = 2_000  # holes placed at a time
_PATCHINESS = 0.35  # of diffuse disease, in units of its score
_BOX_HOLES = 6  # an annotated box holds this many hole centres or more
_BOXES_PER_SUBTYPE = 3
_READ_SHARE = 0.6  # of the diseased subjects, whose boxes somebody has drawn


class NoiseField:
    """Gaussian noise with zero mean and unit variance, smooth over `length_mm`, anywhere in the field of view."""

    def __init__(self, length_mm: float, rng: np.random.Generator) -> None:
        self._length_mm = length_mm
        shape = [int(np.ceil(extent / length_mm)) + 6 for extent in FIELD_OF_VIEW_MM]
        smooth = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.8, mode="wrap")
        self._values = smooth / smooth.std()

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike, z: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the field at the points (x, y, z) in mm, each (P,)."""
        centres = [(n - 1) / 2 for n in self._values.shape]
        index = [np.asarray(axis) / self._length_mm + c for axis, c in zip((x, y, z), centres, strict=True)]
        return ndimage.map_coordinates(self._values, index, order=1, mode="nearest")


@dataclass(frozen=True)
class Holes:
    """Balls of destroyed lung: centres (N, 3) and radii (N,) in mm."""

    centres_mm: Points
    radii_mm: Points

    def cover(self, points_mm: Points) -> npt.NDArray[np.bool_]:
        """Return which of the points (P, 3) lie in a hole, (P,)."""
        covered = np.zeros(len(points_mm), dtype=bool)
        if len(self.radii_mm):
            hits = cKDTree(points_mm).query_ball_point(self.centres_mm, self.radii_mm)
            covered[np.concatenate([np.asarray(hit, dtype=np.int64) for hit in hits])] = True
        return covered


@dataclass(frozen=True)
class Diffuse:
    """A disease that is a smooth field: where its score is above a threshold; `threshold` infinite for none."""

    kind: str
    noise: NoiseField
    threshold: float
    softness: float

    def extent(self, thorax: Thorax, depth_mm: Array, *axes: Array) -> npt.NDArray[np.float32]:
        """Return how far the disease has gone at points of the lung, from 0 to 1; one half is its border."""
        if not np.isfinite(self.threshold):
            return np.zeros(len(depth_mm), dtype=np.float32)
        score = _SCORES[self.kind](thorax, depth_mm, *axes) + _PATCHINESS * self.noise(*axes)
        return (0.5 + 0.5 * np.tanh((score - self.threshold) / self.softness)).astype(np.float32)


@dataclass(frozen=True)
class Lesions:
    """All disease of one subject."""

    centrilobular: Holes
    paraseptal: Holes
    panlobular: Diffuse
    ground_glass: Diffuse

    def labels_at(self, thorax: Thorax, points_mm: Points) -> npt.NDArray[np.uint8]:
        """Return the truth label (0 none, else 1 + position in `DISEASES`) of points of the lung (P, 3), (P,)."""
        depth = lung_depth_of(thorax, points_mm)
        labels = np.zeros(len(points_mm), dtype=np.uint8)
        labels[self.ground_glass.extent(thorax, depth, *points_mm.T) > 0.5] = 4
        labels[self.panlobular.extent(thorax, depth, *points_mm.T) > 0.5] = 3
        labels[self.centrilobular.cover(points_mm)] = 1
        labels[self.paraseptal.cover(points_mm)] = 2
        return labels

    def burdens(self, thorax: Thorax, points_mm: Points) -> dict[str, float]:
        """Return the fraction of the lung that each disease takes, from points spread evenly over the lung."""
        counts = np.bincount(self.labels_at(thorax, points_mm), minlength=len(DISEASES) + 1)
        return {name: float(count / len(points_mm)) for name, count in zip(DISEASES, counts[1:], strict=True)}


def draw_lesions(
    thorax: Thorax, target_burdens: Mapping[str, float], points_mm: Points, rng: np.random.Generator
) -> Lesions:
    """Place disease so that each takes about its target share of the lung.

    Parameters
    ----------
    thorax : Thorax
    target_burdens : mapping
        `DISEASES` -> wanted fraction of the lung.
    points_mm : (P, 3) array
        Points spread evenly over both lungs (`sample_lung_points`).
    rng : numpy Generator
    """
    share = target_burdens
    seeds = sample_lung_points(thorax, _CANDIDATES, rng)
    centrilobular = _fill(_centrilobular(thorax, share["centrilobular"], seeds, rng), share["centrilobular"], points_mm)
    paraseptal = _fill(_paraseptal(thorax, share["paraseptal"], seeds, rng), share["paraseptal"], points_mm)
    everywhere = np.ones(len(points_mm), dtype=bool)
    panlobular = _diffuse("panlobular", 18.0, thorax, share["panlobular"], points_mm, everywhere, rng)
    # There is nothing left to fill where the lung is destroyed.
    spared = panlobular.extent(thorax, lung_depth_of(thorax, points_mm), *points_mm.T) <= 0.5
    ground_glass = _diffuse("ground_glass", 20.0, thorax, share["ground_glass"], points_mm, spared, rng)
    return Lesions(centrilobular, paraseptal, panlobular, ground_glass)


def annotate_boxes(lesions: Lesions, rng: np.random.Generator) -> list[dict[str, float | str]]:
    """Return boxes as a reader draws them: some dense spots of some subjects; centres in mm, LPS."""
    boxes: list[dict[str, float | str]] = []
    for subtype in ("centrilobular", "paraseptal"):
        centres = getattr(lesions, subtype).centres_mm
        if rng.random() > _READ_SHARE or len(centres) < _BOX_HOLES:
            continue
        tree = cKDTree(centres)
        for centre in centres[rng.permutation(len(centres))[:_BOXES_PER_SUBTYPE]]:
            if len(tree.query_ball_point(centre, BOX_SIZE_MM / 2, p=np.inf)) >= _BOX_HOLES:
                x, y, z = np.round(centre, 1).tolist()
                boxes.append({"subtype": subtype, "x_mm": x, "y_mm": y, "z_mm": z})
    return boxes


def _fill(holes: Holes, share: float, points_mm: Points) -> Holes:
    """Keep the first holes, as many as cover `share` of the points."""
    if share <= 0:
        return Holes(np.empty((0, 3)), np.empty(0))
    tree, wanted = cKDTree(points_mm), int(share * len(points_mm))
    covered_by = np.full(len(points_mm), len(holes.radii_mm))
    for first in range(0, len(holes.radii_mm), _BLOCK):
        block = slice(first, first + _BLOCK)
        hits = tree.query_ball_point(holes.centres_mm[block], holes.radii_mm[block])
        owners = first + np.repeat(np.arange(len(hits)), [len(hit) for hit in hits])
        np.minimum.at(covered_by, np.concatenate(hits).astype(np.int64), owners)
        if np.sum(covered_by < len(holes.radii_mm)) > wanted:
            break
    count = np.partition(covered_by, wanted)[wanted]
    return Holes(holes.centres_mm[:count], holes.radii_mm[:count])


def _centrilobular(thorax: Thorax, share: float, seeds: Points, rng: np.random.Generator) -> Holes:
    """Lobulated holes of 3-10 mm in the core of the upper lobes, in clusters, lower and larger as disease grows."""
    depth, level = lung_depth_of(thorax, seeds), thorax.level(seeds[:, 2])
    upper = np.where(fissure_mm(thorax, *seeds.T) > 0, 1.0, 0.25)
    cluster = np.exp(1.2 * NoiseField(22.0, rng)(*seeds.T))
    weight = upper * cluster * np.clip((depth - 6.0) / 8.0, 0.0, 1.0) * np.exp((level - 1.0) * (5.0 - 6.0 * share))
    chosen = seeds[rng.choice(len(seeds), size=int(_CANDIDATES * (1.0 + 3.0 * share)), p=weight / weight.sum())]
    main = chosen + rng.uniform(-2.5, 2.5, size=chosen.shape)
    radii = np.clip((2.3 + 4.0 * share) * rng.lognormal(0.0, 0.25, size=len(main)), 1.5, 5.0)
    bud = rng.standard_normal(main.shape)
    bud *= (0.8 * radii / np.linalg.norm(bud, axis=1))[:, None]
    pairs = Holes(np.stack([main, main + bud], axis=1).reshape(-1, 3), np.stack([radii, 0.75 * radii], axis=1).ravel())
    return _inside(thorax, pairs, 1.5)


def _paraseptal(thorax: Thorax, share: float, seeds: Points, rng: np.random.Generator) -> Holes:
    """Holes of 5-15 mm side by side under the pleura, mostly upper; a second row where disease is heavy."""
    points = seeds[lung_depth_of(thorax, seeds) < 22.0]
    weight = np.exp(6.0 * (thorax.level(points[:, 2]) - 1.0) + 2.0 * NoiseField(30.0, rng)(*points.T))
    order = rng.choice(len(points), size=len(points) // 2, replace=False, p=weight / weight.sum())
    radii = np.clip((3.4 + 18.0 * share) * rng.lognormal(0.0, 0.25, size=len(order)), 2.5, 7.5)
    second_row = rng.random(len(order)) < 3.0 * share
    depth = radii + 0.8 + np.where(second_row, 1.9 * radii, 0.0)
    return _inside(thorax, _apart(Holes(_at_depth(thorax, points[order], depth), radii)), 0.0)


def _at_depth(thorax: Thorax, points: Points, depth_mm: Points) -> Points:
    """Move points along the normal of the pleura to the wanted depth (two Newton steps)."""
    for _ in range(2):
        normals = inward_normals(thorax, points)
        excess = depth_mm - lung_depth_of(thorax, points)
        points = points + normals * (excess / np.maximum((normals**2).sum(axis=1), 0.25))[:, None]
    return points


def _apart(holes: Holes) -> Holes:
    """Keep the first of all holes that share a cell about as wide as a hole, so that walls remain between them."""
    cells = np.floor(holes.centres_mm / (1.9 * holes.radii_mm.mean())).astype(np.int64)
    first = np.sort(np.unique(cells, axis=0, return_index=True)[1])
    return Holes(holes.centres_mm[first], holes.radii_mm[first])


def _inside(thorax: Thorax, holes: Holes, margin_mm: float) -> Holes:
    kept = lung_depth_of(thorax, holes.centres_mm) > margin_mm
    return Holes(holes.centres_mm[kept], holes.radii_mm[kept])


def _diffuse(
    kind: str,
    length_mm: float,
    thorax: Thorax,
    share: float,
    points: Points,
    eligible: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> Diffuse:
    """Choose the threshold above which `share` of all points lie, among those that may have the disease."""
    noise = NoiseField(length_mm, rng)
    axes = points[eligible].T
    score = _SCORES[kind](thorax, lung_depth_of(thorax, points[eligible]), *axes) + _PATCHINESS * noise(*axes)
    needed = min(share * len(points) / len(score), 1.0)
    threshold = float(np.quantile(score, 1.0 - needed)) if share > 0 else np.inf
    return Diffuse(kind, noise, threshold, softness=0.12)


def _panlobular_score(thorax: Thorax, depth: Array, x: Array, y: Array, z: Array) -> Array:
    return 1.6 * (1.0 - thorax.level(z)) + np.where(fissure_mm(thorax, x, y, z) < 0, 0.4, 0.0)


def _ground_glass_score(thorax: Thorax, depth: Array, x: Array, y: Array, z: Array) -> Array:
    backwards = (y - thorax.axis_mm(z)[1]) / thorax.half_depth_mm
    return 0.5 * np.exp(-np.maximum(depth, 0.0) / 25.0) + 0.8 * (1.0 - thorax.level(z)) + 0.2 * backwards


_SCORES = {"panlobular": _panlobular_score, "ground_glass": _ground_glass_score}
