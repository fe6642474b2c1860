"""HU of everything in a phantom but the inside of the lungs, and the airway and vessel trees."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drasclr_core.phantom.labels import Traits
from drasclr_core.phantom.shape import (
    LEFT,
    SIDES,
    Thorax,
    above_diaphragm_mm,
    body_depth_mm,
    cavity_depth_mm,
    heart_depth_mm,
    lung_depth_of,
    sample_lung_points,
)
from drasclr_core.phantom.trees import Grid, Tubes, edge, grow_tree, join, polyline, tube_fraction

Volume = npt.NDArray[np.float32]
Array = npt.NDArray[np.floating]
Points = npt.NDArray[np.float64]

AIR_HU, LUMEN_HU, WALL_HU, BLOOD_HU = -1000.0, -990.0, 30.0, 42.0
_SKIN_HU, _FAT_HU, _MUSCLE_HU, _MEDIASTINAL_FAT_HU = 0.0, -102.0, 52.0, -88.0
_HEART_HU, _LIVER_HU, _SPLEEN_HU, _GAS_HU = 44.0, 60.0, 48.0, -960.0
_MARROW_HU, _CORTEX_HU, _DISC_HU, _CARTILAGE_HU, _CANAL_HU = 170.0, 520.0, 85.0, 105.0, 25.0
_COUCH_HU = -780.0
_VERTEBRA_MM = 24.0

_AIRWAY_LEAVES, _VESSEL_LEAVES = 64, 1024


@dataclass(frozen=True)
class Trees:
    """Airways and vessels of both lungs, and the great vessels; `airway` is the outer surface around `lumen`."""

    lumen: Tubes
    airway: Tubes
    vessels: Tubes
    great_vessels: Tubes


def draw_trees(thorax: Thorax, traits: Traits, rng: np.random.Generator) -> Trees:
    """Grow the trees; airway disease thickens the walls and narrows the lumen of the small airways."""
    neck, carina = thorax.at(0.0, -0.06, 1.25), thorax.at(0.02, 0.10, 0.60)
    lumen = [polyline([neck, thorax.at(0.0, 0.05, 0.85), carina], 8.2 if traits.sex == "F" else 9.2)]
    vessels = []
    trunk = thorax.at(0.05, -0.18, 0.57)
    atrium = thorax.at(0.04, 0.16, 0.42)
    great = [_aorta(thorax), polyline([thorax.at(-0.14, -0.14, 0.98), thorax.at(-0.17, -0.1, 0.45)], 8.5)]
    great.append(polyline([thorax.at(0.10, -0.36, 0.45), trunk], 13.0))
    for label, side in SIDES.items():
        points = _deep_points(thorax, side, rng)
        hilum = thorax.at(side * 0.25, 0.08, 0.53 if label == LEFT else 0.55)
        lumen.append(polyline([carina, hilum], [6.6, 5.6]))
        lumen.append(_within_lungs(thorax, grow_tree(hilum, points[:_AIRWAY_LEAVES], 1.0, 2.6, rng)))
        artery, vein = hilum + [side * 3.0, -9.0, 7.0], hilum + [0.0, 2.0, -20.0]
        great += [polyline([trunk, artery], [11.0, 8.0]), polyline([atrium, vein], [12.0, 7.0])]
        vessels.append(grow_tree(artery, points[:_VESSEL_LEAVES], 0.8, 3.0, rng))
        vessels.append(grow_tree(vein, points[_VESSEL_LEAVES:], 0.8, 3.0, rng))
    narrow = join(*lumen).scaled(1.0 - 0.05 * min(traits.airway, 4.0))
    wall = narrow.scaled(1.10 + 0.03 * traits.airway, plus_mm=0.5 + 0.12 * traits.airway)
    return Trees(narrow, wall, join(*vessels), join(*great))


def paint_background(thorax: Thorax, trees: Trees, grid: Grid) -> Volume:
    """Return HU (z, y, x) of body, bones, heart, great vessels and couch, with fat where the lungs will be."""
    ct_hu = np.empty(grid.shape, dtype=np.float32)
    x, y, z = grid.axes_mm()
    for slab in grid.slabs():
        ct_hu[slab] = _paint_slab(thorax, x, y, z[slab], max(grid.spacing_mm))
    _blend(ct_hu, tube_fraction(trees.great_vessels, grid), BLOOD_HU)
    ribs, cartilage = _ribs(thorax)
    bones = join(ribs, *_sternum(thorax), *_clavicles(thorax), *_scapulae(thorax))
    _blend(ct_hu, tube_fraction(bones, grid), _CORTEX_HU)
    _blend(ct_hu, tube_fraction(bones.scaled(0.62), grid), _MARROW_HU)
    _blend(ct_hu, tube_fraction(cartilage, grid), _CARTILAGE_HU)
    return ct_hu


def _blend(ct_hu: Volume, share: Array, value_hu: float) -> None:
    ct_hu += share * (value_hu - ct_hu)


def _paint_slab(thorax: Thorax, x: Volume, y: Volume, z: Volume, voxel_mm: float) -> Volume:
    skin = body_depth_mm(thorax, x, y, z)
    cavity = cavity_depth_mm(thorax, x, y, z)
    ct_hu = np.full(skin.shape, AIR_HU, dtype=np.float32)
    _blend(ct_hu, edge(_couch_depth(thorax, x, y), voxel_mm), _COUCH_HU)
    _blend(ct_hu, edge(skin, voxel_mm), _SKIN_HU)
    _blend(ct_hu, edge(skin - 2.0, voxel_mm), _FAT_HU)
    _blend(ct_hu, edge(skin - thorax.fat_mm * _fat_share(thorax, x, y, z), voxel_mm), _MUSCLE_HU)
    # Sheets of fat between the layers of muscle.
    sheet = 0.8 * np.exp(-(((cavity + 0.62 * thorax.muscle_mm) / 1.6) ** 2))
    _blend(ct_hu, sheet * (skin > thorax.fat_mm + 3.0) * (thorax.level(z) < 0.97), _FAT_HU)
    _blend(ct_hu, edge(cavity, voxel_mm), _MEDIASTINAL_FAT_HU)
    _paint_abdomen(ct_hu, thorax, x, y, z, cavity, voxel_mm)
    _blend(ct_hu, edge(heart_depth_mm(thorax, x, y, z), voxel_mm), _HEART_HU)
    _paint_spine(ct_hu, thorax, x, y, z, voxel_mm)
    return ct_hu


def _fat_share(thorax: Thorax, x: Volume, y: Volume, z: Volume) -> Array:
    """Return the thickness of the subcutaneous fat relative to its mean: thin at the sides, thick in front and low."""
    axis_x, axis_y = thorax.axis_mm(z)
    sideways = np.abs(x - axis_x) / (np.hypot(x - axis_x, y - axis_y) + 1.0)
    return 1.25 - 0.45 * sideways + 0.25 * np.clip(0.5 - thorax.level(z), -0.5, 0.7)


def _couch_depth(thorax: Thorax, x: Volume, y: Volume) -> Array:
    top = thorax.base_mm[1] + thorax.half_depth_mm + thorax.muscle_mm + thorax.fat_mm + 5.0
    bowl = y - top + 2e-4 * (x - thorax.base_mm[0]) ** 2
    return np.minimum(6.0 - np.abs(bowl - 6.0), 170.0 - np.abs(x - thorax.base_mm[0]))


def _paint_abdomen(
    ct_hu: Volume, thorax: Thorax, x: Volume, y: Volume, z: Volume, cavity: Array, voxel_mm: float
) -> None:
    below = -above_diaphragm_mm(thorax, x, y, z)
    inner = np.minimum(below, cavity)
    if not (inner > 0).any():
        return
    axis_x, axis_y = thorax.axis_mm(z)
    lateral, behind = (x - axis_x) / thorax.half_width_mm, (y - axis_y) / thorax.half_depth_mm
    _blend(ct_hu, edge(inner, voxel_mm), _MUSCLE_HU)  # the diaphragm itself
    _blend(ct_hu, edge(inner - 4.0, voxel_mm), _FAT_HU)
    liver = np.minimum(inner - 4.0, (0.28 - 0.5 * behind - lateral) * 60.0)
    _blend(ct_hu, edge(liver, voxel_mm), _LIVER_HU)
    spleen = np.minimum(inner - 5.0, (lateral + 0.6 * behind - 0.62) * 80.0)
    _blend(ct_hu, edge(spleen, voxel_mm), _SPLEEN_HU)
    stomach = np.minimum(inner - 8.0, 34.0 - np.hypot(lateral - 0.48, behind + 0.25) * 90.0)
    _blend(ct_hu, edge(stomach, voxel_mm), _SPLEEN_HU)
    _blend(ct_hu, edge(np.minimum(stomach - 4.0, (-0.35 - behind) * 60.0), voxel_mm), _GAS_HU)


def _paint_spine(ct_hu: Volume, thorax: Thorax, x: Volume, y: Volume, z: Volume, voxel_mm: float) -> None:
    axis_x = thorax.axis_mm(z)[0]
    lateral, behind = x - axis_x, y - thorax.spine_y_mm(z)
    phase = np.abs(np.mod(z - thorax.base_mm[2], _VERTEBRA_MM) - 0.5 * _VERTEBRA_MM)
    waist = 1.0 - 0.10 * np.cos(np.pi * np.clip(phase / 9.5, 0.0, 1.0))
    body = 15.5 * waist - np.hypot(lateral * 0.86, behind * 1.08)
    _blend(ct_hu, edge(body + 1.0, voxel_mm), _DISC_HU)
    bone = np.minimum(body, 9.5 - phase)
    _blend(ct_hu, edge(bone, voxel_mm), _CORTEX_HU * 0.8)
    _blend(ct_hu, edge(bone - 1.8, voxel_mm), _MARROW_HU)
    arch = 14.0 - np.hypot(lateral, behind - 24.0)
    spinous = np.minimum(4.0 - np.abs(lateral), 14.0 - np.abs(behind - 42.0 + 0.4 * (9.0 - phase)))
    transverse = np.minimum(5.0 - np.abs(behind - 22.0), np.minimum(31.0 - np.abs(lateral), 7.0 - phase))
    posterior = np.maximum(np.maximum(arch, transverse), np.minimum(spinous, 8.0 - phase))
    _blend(ct_hu, edge(posterior, voxel_mm), _CORTEX_HU * 0.6)
    _blend(ct_hu, edge(9.0 - np.hypot(lateral, behind - 23.0), voxel_mm), _CANAL_HU)


def _ribs(thorax: Thorax) -> tuple[Tubes, Tubes]:
    """Return the bone and the cartilage of ten pairs of ribs; the last three do not reach the sternum."""
    bones, cartilages = [], []
    angle = np.linspace(np.radians(62), np.radians(-80), 34)  # from the spine round the side to the sternum
    for number in range(10):
        drop = 0.10 + 0.022 * number
        level = 0.97 - 0.092 * number - drop * np.linspace(0.0, 1.0, len(angle)) ** 0.8
        bone, end = (26, 34) if number < 7 else (22, 28)
        for side in SIDES.values():
            points = np.array([_on_cage(thorax, side, a, u) for a, u in zip(angle, level, strict=True)])
            bones.append(polyline(points[:bone], 4.6))
            cartilages.append(polyline(points[bone - 1 : end], 4.2))
    return join(*bones), join(*cartilages)


def _on_cage(thorax: Thorax, side: int, angle: float, level: float) -> Points:
    """Return the point 5 mm outside the cavity in the direction `angle` (0 sideways, positive to the back)."""
    ray = np.array([side * np.cos(angle), np.sin(angle), 0.0])
    reach = thorax.at(0.0, 0.05, level) + np.linspace(15.0, 170.0, 156)[:, None] * ray
    within = np.flatnonzero(cavity_depth_mm(thorax, *reach.T) > -5.0)
    return reach[within[-1]] if len(within) else reach[15]  # above the apex there is no cavity


def _sternum(thorax: Thorax) -> list[Tubes]:
    front = thorax.at(0.0, -1.02, 0.5)[1] - 6.0
    ends = [[thorax.at(across, 0.0, level) for level in (0.74, 0.36)] for across in (-0.05, 0.0, 0.05)]
    return [polyline([[x, front, z] for x, _, z in line], 5.5) for line in ends]


def _clavicles(thorax: Thorax) -> list[Tubes]:
    places = ((0.12, -0.92, 0.80), (0.5, -0.72, 0.93), (0.95, -0.5, 1.0))
    return [polyline([thorax.at(side * x, y, level) for x, y, level in places], 5.5) for side in SIDES.values()]


def _scapulae(thorax: Thorax) -> list[Tubes]:
    """Return a fan of thin rods per side, from the shoulder joint to the medial border."""
    return [
        polyline([thorax.at(side * 1.08, 0.30, 1.0), thorax.at(side * (0.62 + 0.15 * (0.95 - u)), 1.06, u)], [6.0, 2.2])
        for side in SIDES.values()
        for u in np.linspace(0.95, 0.60, 9)
    ]


def _aorta(thorax: Thorax) -> Tubes:
    spine = [thorax.at(0.0, 0.0, u) for u in (0.64, 0.45, 0.25, -0.2)]
    descending = [np.array([x + 21.0, float(thorax.spine_y_mm(np.asarray(z))) - 22.0, z]) for x, _, z in spine]
    bends = ((-0.02, -0.25, 0.45), (-0.07, -0.28, 0.58), (0.02, -0.12, 0.70), (0.15, 0.15, 0.70))
    arch = [thorax.at(*bend) for bend in bends]
    return polyline([*arch, *descending], [15.0, 15.0, 13.5, 13.0, 12.5, 12.0, 11.5, 11.0])


def _within_lungs(thorax: Thorax, tubes: Tubes) -> Tubes:
    """Leave out tubes that would run through the heart or the mediastinum."""
    places = (tubes.start_mm, 0.5 * (tubes.start_mm + tubes.end_mm), tubes.end_mm)
    return tubes.chosen(np.min([lung_depth_of(thorax, place) for place in places], axis=0) > -3.0)


def _deep_points(thorax: Thorax, side: int, rng: np.random.Generator) -> Points:
    """Return places of one lung for the ends of arteries and veins, (2 `_VESSEL_LEAVES`, 3), off the pleura."""
    found = sample_lung_points(thorax, 6 * _VESSEL_LEAVES, rng)
    on_side = (found[:, 0] > thorax.axis_mm(found[:, 2])[0]) == (side == SIDES[LEFT])
    return found[on_side & (lung_depth_of(thorax, found) > 4.0)][: 2 * _VESSEL_LEAVES]
