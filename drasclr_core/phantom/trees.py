"""Branching trees of a phantom (airways, vessels) and the rasterising of tubes and balls into voxels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Array = npt.NDArray[np.floating]

_SLAB_VOXELS, _CHUNK_VOXELS, _CHUNK_POINTS = 400_000, 300_000, 200_000


@dataclass(frozen=True)
class Grid:
    """A voxel grid of the image-centred LPS frame: (z, y, x) shape, (x, y, z) spacing and origin in mm."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """Centre of voxel (0, 0, 0)."""
        x, y, z = (-0.5 * (n - 1) * s for n, s in zip(self.shape[::-1], self.spacing_mm, strict=True))
        return x, y, z

    def axes_mm(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Return the open grids x (1, 1, X), y (1, Y, 1) and z (Z, 1, 1)."""
        x, y, z = (
            (o + s * np.arange(n)).astype(np.float32)
            for o, s, n in zip(self.origin_mm, self.spacing_mm, self.shape[::-1], strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def slabs(self) -> Iterator[slice]:
        """Yield the ranges of slices of slabs small enough for the processor's cache."""
        slices = max(1, _SLAB_VOXELS // (self.shape[1] * self.shape[2]))
        for first in range(0, self.shape[0], slices):
            yield slice(first, min(first + slices, self.shape[0]))


@dataclass(frozen=True)
class Tubes:
    """Straight tubes: ends (S, 3) in mm, and radius at either end (S,) in mm."""

    start_mm: Points
    end_mm: Points
    start_radius_mm: Points
    end_radius_mm: Points

    def scaled(self, factor: float, plus_mm: float = 0.0) -> "Tubes":
        """Return the same tubes with other radii."""
        radii = (factor * r + plus_mm for r in (self.start_radius_mm, self.end_radius_mm))
        return Tubes(self.start_mm, self.end_mm, *radii)

    def chosen(self, which: slice | npt.NDArray[np.bool_]) -> "Tubes":
        """Return the tubes of a slice or a mask (S,)."""
        return Tubes(self.start_mm[which], self.end_mm[which], self.start_radius_mm[which], self.end_radius_mm[which])

    def volume_mm3(self) -> float:
        """Return the volume of all tubes, overlaps counted twice."""
        length = np.linalg.norm(self.end_mm - self.start_mm, axis=1)
        return float(np.sum(length * np.pi * (0.5 * (self.start_radius_mm + self.end_radius_mm)) ** 2))


def join(*parts: Tubes) -> Tubes:
    """Return all tubes of `parts` as one."""
    names = ("start_mm", "end_mm", "start_radius_mm", "end_radius_mm")
    return Tubes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def polyline(points_mm: npt.ArrayLike, radius_mm: npt.ArrayLike) -> Tubes:
    """Return the tubes along a line of points (P, 3) with one radius, or one per point."""
    points = np.asarray(points_mm, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), len(points))
    return Tubes(points[:-1], points[1:], radii[:-1], radii[1:])


def grow_tree(
    root_mm: Points, leaves_mm: Points, leaf_radius_mm: float, exponent: float, rng: np.random.Generator
) -> Tubes:
    """Return a binary tree from `root_mm` (3,) that reaches every leaf.

    Each branch goes part of the way to the centre of its leaves, which are then cut in two at the median of their
    longest axis, after the volume-filling airway model of Tawhai et al. (J Appl Physiol 2004).

    Parameters
    ----------
    root_mm : (3,) array
    leaves_mm : (2**k, 3) array
    leaf_radius_mm : float
        Radius of the last branches.
    exponent : float
        The radius to this power is conserved at branchings (3 is Murray's law).
    rng : numpy Generator
        Varies how far a branch goes.
    """
    groups, positions = leaves_mm[None], root_mm[None]
    parts = []
    while True:
        centres = groups.mean(axis=1)
        leaves = groups.shape[1]
        reach = rng.uniform(0.35, 0.5, size=(len(groups), 1)) if leaves > 1 else 1.0
        ends = positions + reach * (centres - positions)
        radius = np.full(len(groups), leaf_radius_mm * leaves ** (1 / exponent))
        thinner = np.full(len(groups), leaf_radius_mm * max(leaves / 2, 0.5) ** (1 / exponent))
        parts.append(Tubes(positions, ends, radius, 0.5 * (radius + thinner)))
        if leaves == 1:
            return join(*parts)
        groups, positions = _halve(groups), np.repeat(ends, 2, axis=0)


def _halve(groups: Points) -> Points:
    """Cut each group of points (G, P, 3) at the median of its longest axis: (2 G, P / 2, 3)."""
    longest = np.argmax(np.ptp(groups, axis=1), axis=1)
    keys = np.take_along_axis(groups, longest[:, None, None], axis=2)[..., 0]
    order = np.argsort(keys, axis=1)
    return np.take_along_axis(groups, order[..., None], axis=1).reshape(2 * len(groups), -1, 3)


def edge(depth_mm: Array, width_mm: float) -> Array:
    """Return the share of a voxel of `width_mm` that lies inside a surface `depth_mm` away."""
    return np.clip(depth_mm / width_mm + 0.5, 0.0, 1.0)


def tube_fraction(tubes: Tubes, grid: Grid) -> npt.NDArray[np.float32]:
    """Return the share of each voxel that the tubes fill, (z, y, x), clipped to 1.

    Tubes far thinner than a voxel keep their volume, so that they fade as partial volume does.
    """
    fraction = np.zeros(int(np.prod(grid.shape)), dtype=np.float32)
    pitch = 0.5 * min(grid.spacing_mm)
    parts = 1 + int(tubes.volume_mm3() / pitch**3) // _CHUNK_POINTS
    for first in range(parts):
        points, volumes = _fill_tubes(tubes.chosen(slice(first, None, parts)), pitch)
        share = (volumes / np.prod(grid.spacing_mm)).astype(np.float32)
        _splat(fraction, grid, points, share)
    return np.minimum(fraction, 1.0).reshape(grid.shape)


def _fill_tubes(tubes: Tubes, pitch_mm: float) -> tuple[Points, Points]:
    """Return points spread through the tubes about `pitch_mm` apart (P, 3), and the volume of each in mm3."""
    axis = tubes.end_mm - tubes.start_mm
    length = np.linalg.norm(axis, axis=1)
    steps = np.maximum(np.ceil(length / pitch_mm), 1).astype(int)
    tube = np.repeat(np.arange(len(steps)), steps)
    along = (np.arange(len(tube)) - np.repeat(np.cumsum(steps) - steps, steps) + 0.5) / steps[tube]
    radius = tubes.start_radius_mm[tube] + along * (tubes.end_radius_mm - tubes.start_radius_mm)[tube]
    centre = tubes.start_mm[tube] + along[:, None] * axis[tube]
    volume = np.pi * radius**2 * (length / steps)[tube]

    discs = np.maximum(np.ceil(np.pi * (radius / pitch_mm) ** 2), 1).astype(int)
    disc = np.repeat(np.arange(len(discs)), discs)
    number = np.arange(len(disc)) - np.repeat(np.cumsum(discs) - discs, discs)
    # Sunflower seeds: even over a disc for any number of them; the golden angle, turned from disc to disc.
    distance = radius[disc] * np.sqrt((number + 0.5) / discs[disc])
    angle = 2.399963 * number + 1.7 * disc
    across, upwards = _normal_plane(axis / np.maximum(length, 1e-9)[:, None])
    owner = tube[disc]
    offset = across[owner] * np.cos(angle)[:, None] + upwards[owner] * np.sin(angle)[:, None]
    return centre[disc] + distance[:, None] * offset, (volume / discs)[disc]


def _normal_plane(direction: Points) -> tuple[Points, Points]:
    helper: Points = np.where(np.abs(direction[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    across = np.cross(direction, helper)
    across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    return across, np.cross(direction, across)


def _splat(fraction: npt.NDArray[np.float32], grid: Grid, points: Points, share: npt.NDArray[np.float32]) -> None:
    """Add each point's share to its eight neighbouring voxels, by trilinear weights."""
    index = (points - grid.origin_mm) / grid.spacing_mm
    inside = np.all((index >= 0) & (index < np.array(grid.shape[::-1]) - 1), axis=1)
    index, share = index[inside], share[inside]
    corner = index.astype(np.int64)
    rest = (index - corner).astype(np.float32)
    _, rows, columns = grid.shape
    flat = (corner[:, 2] * rows + corner[:, 1]) * columns + corner[:, 0]
    for step in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(step, rest, 1.0 - rest), axis=1, dtype=np.float32)
        np.add.at(fraction, flat + (step[2] * rows + step[1]) * columns + step[0], share * weight)


def ball_fraction(centres_mm: Points, radii_mm: Points, grid: Grid) -> npt.NDArray[np.float32]:
    """Return the share of each voxel that the balls fill, (z, y, x).

    Overlapping balls count once; balls with their centre outside the grid are left out.
    """
    if not len(radii_mm):
        return np.zeros(grid.shape, dtype=np.float32)
    voxel = max(grid.spacing_mm)
    step = 0.4 * voxel
    classes = np.ceil((radii_mm + 0.5 * voxel) / step).astype(int)
    margin = np.ceil((classes.max() * step + voxel) / np.array(grid.spacing_mm)).astype(int)[::-1]
    padded = np.zeros(np.array(grid.shape) + 2 * margin, dtype=np.float32)
    for size in np.unique(classes):
        members = np.flatnonzero(classes == size)
        window = _ball_window(size * step, grid)
        for part in np.array_split(members, 1 + len(members) * len(window) // _CHUNK_VOXELS):
            _stamp(padded, margin, grid, centres_mm[part], radii_mm[part], window)
    inner = tuple(slice(m, m + n) for m, n in zip(margin, grid.shape, strict=True))
    return padded[inner]


def _ball_window(reach_mm: float, grid: Grid) -> npt.NDArray[np.int64]:
    """Return the voxel offsets (z, y, x) that a ball reaching `reach_mm` from the middle of a voxel may touch."""
    spacing = np.array(grid.spacing_mm[::-1])
    half = np.ceil(reach_mm / spacing).astype(int)
    offsets = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1).reshape(-1, 3)
    # The centre may be off the middle of its voxel by half a diagonal.
    return offsets[np.linalg.norm(offsets * spacing, axis=1) <= reach_mm + 0.5 * np.linalg.norm(spacing)]


def _stamp(
    padded: npt.NDArray[np.float32],
    margin: npt.NDArray[np.int64],
    grid: Grid,
    centres: Points,
    radii: Points,
    window: npt.NDArray[np.int64],
) -> None:
    spacing = np.array(grid.spacing_mm[::-1])
    index = (centres[:, ::-1] - grid.origin_mm[::-1]) / spacing
    nearest = np.rint(index).astype(np.int64)
    inside = np.all((nearest >= 0) & (nearest < grid.shape), axis=1)
    shift = ((index - nearest) * spacing)[inside].astype(np.float32)
    places = (window * spacing).astype(np.float32)
    squared = (places**2).sum(axis=1) - 2.0 * (shift @ places.T) + (shift**2).sum(axis=1)[:, None]
    distance = np.sqrt(np.maximum(squared, 0.0))
    share = edge(radii[inside, None].astype(np.float32) - distance, max(grid.spacing_mm))
    strides = np.array(padded.strides) // padded.itemsize
    voxels = ((nearest[inside] + margin) @ strides)[:, None] + window @ strides
    np.maximum.at(padded.reshape(-1), voxels.ravel(), share.ravel())
