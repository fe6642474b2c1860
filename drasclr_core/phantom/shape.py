"""The geometry of a phantom thorax as implicit surfaces in mm: body, chest cavity, lungs, diaphragm, heart, fissures.

All functions take coordinates of an image-centred LPS frame (x to the left, y to the back, z up; mm) that broadcast
against each other: open grids of a volume as well as lists of points. A depth is about the distance to the surface in
mm, positive inside.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

RIGHT, LEFT = 1, 2
SIDES = {RIGHT: -1, LEFT: 1}  # label of the lung -> sign of x
FIELD_OF_VIEW_MM = (360.0, 300.0, 320.0)

_ROUNDNESS = 2.25  # exponent of the chest's superellipse; 2 would be an ellipse
_APEX = 0.36  # where the apex lies, in half widths from the midline
_SPINE_RADIUS_MM = 23.0  # vertebra and the tissue around it
_CORNER_MM = 7.0  # radius to which the lung's edges are rounded


@dataclass(frozen=True)
class Thorax:
    """Size, shape and place of one chest; lengths in mm, `tilt` in mm per mm of height."""

    half_width_mm: float
    half_depth_mm: float
    height_mm: float
    dome_mm: float
    base_mm: tuple[float, float, float]
    tilt: tuple[float, float]
    heart_scale: float
    muscle_mm: float
    fat_mm: float

    def axis_mm(self, z: Array) -> tuple[Array, Array]:
        """Return x and y of the chest's axis at the heights `z`."""
        above = z - self.base_mm[2]
        return self.base_mm[0] + self.tilt[0] * above, self.base_mm[1] + self.tilt[1] * above

    def level(self, z: Array) -> Array:
        """Return the height above the lung base in lung heights: 0 at the costophrenic angle, 1 at the apex."""
        return (z - self.base_mm[2]) / self.height_mm

    def at(self, x: float, y: float, level: float) -> npt.NDArray[np.float64]:
        """Return the point (3,) at `x`, `y` in half widths and half depths from the axis, and at `level`."""
        z = np.asarray(self.base_mm[2] + level * self.height_mm)
        axis_x, axis_y = self.axis_mm(z)
        return np.array([axis_x + x * self.half_width_mm, axis_y + y * self.half_depth_mm, z])

    def spine_y_mm(self, z: Array) -> Array:
        """Return y of the centres of the vertebral bodies (thoracic kyphosis)."""
        bend = np.clip(self.level(z) - 0.55, -0.8, 0.8)
        return self.axis_mm(z)[1] + self.half_depth_mm * (0.72 - 0.45 * bend**2)


def lung_depth_mm(thorax: Thorax, side: int, x: Array, y: Array, z: Array) -> Array:
    """Return the depth below the pleura of the lung on `side` (+1 left, -1 right)."""
    axis_x, axis_y = thorax.axis_mm(z)
    lateral, behind = side * (x - axis_x), y - axis_y
    depth = _wall_depth(thorax, lateral, behind, z)
    depth = _smooth_min(depth, lateral - _mediastinum_mm(thorax, side, behind, z))
    depth = _smooth_min(depth, _above_diaphragm(thorax, side, lateral, behind, z))
    return _smooth_min(depth, -heart_depth_mm(thorax, x, y, z) - 3.0)


def cavity_depth_mm(thorax: Thorax, x: Array, y: Array, z: Array) -> Array:
    """Return the depth below the inner surface of the rib cage, both sides and the midline together."""
    axis_x, axis_y = thorax.axis_mm(z)
    return _wall_depth(thorax, np.abs(x - axis_x), y - axis_y, z)


def above_diaphragm_mm(thorax: Thorax, x: Array, y: Array, z: Array) -> Array:
    """Return the height above the diaphragm; negative in the abdomen."""
    axis_x, axis_y = thorax.axis_mm(z)
    lateral, behind = x - axis_x, y - axis_y
    left = _above_diaphragm(thorax, 1, lateral, behind, z)
    right = _above_diaphragm(thorax, -1, -lateral, behind, z)
    return np.minimum(left, right)


def body_depth_mm(thorax: Thorax, x: Array, y: Array, z: Array) -> Array:
    """Return the depth below the skin."""
    axis_x, axis_y = thorax.axis_mm(z)
    layers = thorax.muscle_mm + thorax.fat_mm
    shoulder = np.clip((thorax.level(z) - 0.7) / 0.5, 0.0, 1.0)
    half_x = (thorax.half_width_mm + layers) * (1.0 - 0.10 * shoulder**2)
    half_y = (thorax.half_depth_mm + layers) * (1.0 - 0.28 * shoulder**2)
    return _superellipse_depth(x - axis_x, y - axis_y - 4.0, half_x, half_y)


def heart_depth_mm(thorax: Thorax, x: Array, y: Array, z: Array) -> Array:
    """Return the depth below the surface of the heart: ventricles and right atrium."""
    scale = thorax.heart_scale
    floor = 0.75 * thorax.dome_mm / thorax.height_mm
    ventricles = thorax.at(0.17, -0.34, floor + 0.12)
    atria = thorax.at(-0.08, -0.18, floor + 0.21)
    long_axis = np.array([0.78, -0.33, -0.53])
    depth = _ellipsoid_depth(x, y, z, ventricles, long_axis, (68 * scale, 46 * scale))
    return np.maximum(depth, _ellipsoid_depth(x, y, z, atria, np.array([0.0, 0.3, 0.954]), (47 * scale, 39 * scale)))


def fissure_mm(thorax: Thorax, x: Array, y: Array, z: Array) -> Array:
    """Return the height above the oblique fissure, the border of upper (positive) and lower lobe."""
    axis_x, axis_y = thorax.axis_mm(z)
    across = np.abs(x - axis_x) / thorax.half_width_mm - 0.5
    slope = 0.42 * thorax.height_mm / thorax.half_depth_mm
    surface = thorax.base_mm[2] + thorax.height_mm * (0.26 + 0.35 * across**2) + slope * (y - axis_y)
    return (z - surface) / np.hypot(1.0, slope)


def sample_lung_points(thorax: Thorax, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return `count` points (count, 3) spread evenly over both lungs."""
    reach = np.array([thorax.half_width_mm, 1.15 * thorax.half_depth_mm, 0.5 * thorax.height_mm + 10.0])
    found: list[npt.NDArray[np.float64]] = []
    while sum(map(len, found)) < count:
        points = rng.uniform(-reach, reach, size=(2 * count, 3))
        points[:, 2] += thorax.base_mm[2] + 0.5 * thorax.height_mm
        points[:, :2] += np.stack(thorax.axis_mm(points[:, 2]), axis=1)
        found.append(points[lung_depth_of(thorax, points) > 0])
    return np.concatenate(found)[:count]


def lung_depth_of(thorax: Thorax, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the depth of `points` (P, 3) in the lung of their side of the midline, (P,)."""
    x, y, z = points.T
    depth = np.empty(len(points))
    left = x > thorax.axis_mm(z)[0]
    for half, side in ((left, SIDES[LEFT]), (~left, SIDES[RIGHT])):
        depth[half] = lung_depth_mm(thorax, side, x[half], y[half], z[half])
    return depth


def inward_normals(thorax: Thorax, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the gradient of the lung depth at `points` (P, 3), one row per point, by differences over 1 mm."""
    steps = 0.5 * np.eye(3)
    return np.stack([lung_depth_of(thorax, points + s) - lung_depth_of(thorax, points - s) for s in steps], axis=1)


def _wall_depth(thorax: Thorax, lateral: Array, behind: Array, z: Array) -> Array:
    level = thorax.level(z)
    centre, half_x, half_y = _section(thorax, level)
    # A wall that leans over is nearer than it looks in its own slice.
    lean = (_section(thorax, level + 0.01)[1] - _section(thorax, level - 0.01)[1]) / (0.02 * thorax.height_mm)
    backwards = 0.12 * thorax.half_depth_mm * np.clip(level, 0.0, 1.0)
    depth = _superellipse_depth(lateral - centre, behind - backwards, half_x, half_y) / np.hypot(1.0, lean)
    return np.minimum(depth, thorax.base_mm[2] + thorax.height_mm - z)


def _section(thorax: Thorax, level: Array) -> tuple[Array, Array, Array]:
    """Return the axial section of one half of the cavity: centre from the midline, half width, half depth; mm."""
    low = np.clip((0.3 - level) / 0.3, 0.0, 1.2)
    high = np.clip((level - 0.3) / 0.7, 0.0, 1.0)
    narrowing = np.sqrt(1.0 - high**2.0)
    centre = _APEX * high**2
    edge = (_APEX + (1.0 - _APEX) * narrowing) * (1.0 - 0.08 * low**2)
    half_y = np.sqrt(1.0 - high**2.6) * (1.0 - 0.03 * low**2)
    return (
        thorax.half_width_mm * centre,
        np.maximum(thorax.half_width_mm * (edge - centre), 1.0),
        np.maximum(thorax.half_depth_mm * half_y, 1.0),
    )


def _mediastinum_mm(thorax: Thorax, side: int, behind: Array, z: Array) -> Array:
    """Return how far the mediastinum reaches to one side, without the heart."""
    level, depth = thorax.level(z), thorax.half_depth_mm
    middle = 5.0 + 19.0 * np.exp(-((behind / (0.5 * depth)) ** 2))
    hilum = 11.0 * np.exp(-(((level - 0.52) / 0.09) ** 2) - ((behind - 4.0) / 22.0) ** 2)
    spine = thorax.spine_y_mm(z) - thorax.axis_mm(z)[1]
    before = np.minimum(behind - spine, 0.0)
    reach = np.maximum(middle + hilum, np.sqrt(np.maximum(_SPINE_RADIUS_MM**2 - before**2, 0.0)))
    if side == SIDES[LEFT]:
        arch = 14.0 * np.exp(-(((level - 0.69) / 0.06) ** 2) - ((behind - 4.0) / 30.0) ** 2)
        aorta = 20.0 + np.sqrt(np.maximum(14.0**2 - (behind - spine + 22.0) ** 2, 0.0))
        reach = np.maximum(reach + arch, np.where((aorta > 20.0) & (level < 0.69), aorta, 0.0))
    return reach


def _above_diaphragm(thorax: Thorax, side: int, lateral: Array, behind: Array, z: Array) -> Array:
    floor = thorax.base_mm[2] - (10.0 if side == SIDES[LEFT] else 0.0)
    across = (lateral - 0.46 * thorax.half_width_mm) / (0.62 * thorax.half_width_mm)
    along = (behind + 0.08 * thorax.half_depth_mm) / (1.0 * thorax.half_depth_mm)
    bulge = np.clip(across, -0.7, None) ** 2 + along**2
    slope = 2.0 * thorax.dome_mm * np.hypot(across / (0.62 * thorax.half_width_mm), along / thorax.half_depth_mm)
    return (z - floor - thorax.dome_mm * (1.0 - bulge)) / np.hypot(1.0, slope)


def _superellipse_depth(x: Array, y: Array, half_x: Array, half_y: Array) -> Array:
    radius = (np.abs(x / half_x) ** _ROUNDNESS + np.abs(y / half_y) ** _ROUNDNESS) ** (1.0 / _ROUNDNESS)
    return np.hypot(x, y) * (1.0 / np.maximum(radius, 1e-3) - 1.0)


def _ellipsoid_depth(
    x: Array,
    y: Array,
    z: Array,
    centre: npt.NDArray[np.float64],
    long_axis: npt.NDArray[np.float64],
    semi_axes_mm: tuple[float, float],
) -> Array:
    """Return the depth in an ellipsoid of revolution; semi-axes along and across `long_axis`."""
    # Python floats, lest they turn single precision into double.
    dx, dy, dz = (axis - middle for axis, middle in zip((x, y, z), centre.tolist(), strict=True))
    along = sum(step * part for step, part in zip((dx, dy, dz), long_axis.tolist(), strict=True))
    across2 = np.maximum(dx**2 + dy**2 + dz**2 - along**2, 0.0)
    scaled = np.sqrt((along / semi_axes_mm[0]) ** 2 + across2 / semi_axes_mm[1] ** 2)
    steep = np.sqrt((along / semi_axes_mm[0] ** 2) ** 2 + across2 / semi_axes_mm[1] ** 4)
    return scaled * (1.0 - scaled) / np.maximum(steep, 1e-6)


def _smooth_min(first: Array, second: Array) -> Array:
    blend = np.maximum(_CORNER_MM - np.abs(first - second), 0.0)
    return np.minimum(first, second) - blend**2 / (4.0 * _CORNER_MM)
