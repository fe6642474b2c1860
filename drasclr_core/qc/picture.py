"""The picture by which a person judges one scan: its lungs, its landmarks, its place in the atlas, its densities."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import patch_starts
from drasclr_core.qc.canvas import GREYS, WHITE, Pixels, grey, outline, shade, text_width, to_image, wrapped, write_text
from drasclr_core.qc.planes import Extent, Plane, View
from drasclr_core.scan.lungs import LEFT, RIGHT

MM_PER_PX = 0.85
"""The same for all scans, so that sizes can be compared; coarser only where lungs would not fit."""

PX_PER_SHOWN = 2
"""Pixels along an edge of one on the page, where pictures stand at half their size."""

_HEIGHT = 400
_WIDTHS: dict[View, int] = {"coronal": 440, "axial": 440, "sagittal": 312}
_HISTOGRAM_PX = 340
_GAP, _LINE = 8, 28
_OUTLINE_PX = 2
_CROSS_PX = 4  # from the middle to an end: thin and small, for it hides what lies below
_MARGIN_MM = 12.0
WINDOW_HU = (-1350.0, 150.0)  # the lung window of radiology
_BEYOND_HU = -2000.0  # black: the end of the scan is seen
_ENDS: dict[View, tuple[str, str]] = {"coronal": ("R", "L"), "axial": ("R", "L"), "sagittal": ("A", "P")}
_SCALE_MM = 50.0
_FIRST_HU, _BIN_HU, _BINS = -1050, 4, 300
_EMPHYSEMA_HU = -950
_MOST_VOXELS = 4_000_000  # of the mask: their densities have the shape of all
_DIM, _PALE = GREYS // 4, 5 * GREYS // 8
_FILL = 0.45


@dataclass(frozen=True)
class Atlas:
    """What scans are registered to.

    Attributes
    ----------
    mask : SimpleITK image
        Lung mask.
    grid : LandmarkGrid
    """

    mask: sitk.Image
    grid: LandmarkGrid


@dataclass(frozen=True)
class Seen:
    """What there is of a subject, as far as it came.

    Attributes
    ----------
    ct : SimpleITK image
        HU, on any grid.
    lungs : SimpleITK image, optional
        1 right, 2 left, on the isotropic grid.
    transform : SimpleITK transform, optional
        Atlas points to subject points.
    """

    ct: sitk.Image
    lungs: sitk.Image | None = None
    transform: sitk.Transform | None = None


def draw_subject(seen: Seen, atlas: Atlas | None = None, title: str = "") -> Image.Image:
    """Return the picture of one subject, 1.1 megapixels at most without its title, in a palette.

    From left to right: coronal and axial slice with most lung, and a sagittal one through each lung, with the mask's
    outline (right orange, left blue) and the landmarks within half a step of their grid; on the atlas, coronal and
    sagittal, both masks and what only one of them covers; the distribution of HU in the lungs.

    Parameters
    ----------
    seen : Seen
        Panels that need what is lacking are left out.
    atlas : Atlas, optional
        Without it, landmarks and atlas are left out.
    title : str
        Above all, in as many lines as it needs.
    """
    panels = [*_scan_panels(seen, atlas), *_atlas_panels(seen, atlas), *_histogram_panels(seen)]
    width = sum(panel.shape[1] + _GAP for _, panel in panels) - _GAP
    lines = wrapped(title, width)
    top = _LINE * (len(lines) + 1)
    pixels = np.zeros((top + _HEIGHT, max([width, *map(text_width, lines)])), np.uint8)
    for number, line in enumerate(lines):
        write_text(pixels, (2, number * _LINE), line)
    left = 0
    for caption, panel in panels:
        write_text(pixels, (left + 2, top - _LINE), caption)
        pixels[top:, left : left + panel.shape[1]] = panel
        left += panel.shape[1] + _GAP
    return to_image(pixels)


def landmarks_in(grid: LandmarkGrid, transform: sitk.Transform, lungs: sitk.Image) -> npt.NDArray[np.float64]:
    """Return the centres of a subject's patches, (L, 3) LPS millimetres, whatever the grid's convention."""
    centres = patch_starts(grid, transform, lungs) + (grid.patch_size - 1) / 2
    scaled_axes = np.reshape(lungs.GetDirection(), (3, 3)) * lungs.GetSpacing()
    return np.asarray(centres @ scaled_axes.T + lungs.GetOrigin())


def grid_step_mm(grid: LandmarkGrid) -> float:
    """Return how far landmarks are from the nearest one, in the median: the step of the grid."""
    nearest = grid.points_mm[grid.neighbours[:, 0]]
    return float(np.median(np.linalg.norm(grid.points_mm - nearest, axis=1)))


def lung_hu(ct: sitk.Image, lungs: sitk.Image) -> npt.NDArray[np.int16]:
    """Return HU of the lungs, not interpolated: at every voxel of the mask, of a large one at every second or so."""
    voxels = sitk.GetArrayViewFromImage(lungs).size
    step = max(1, int(np.ceil((voxels / _MOST_VOXELS) ** (1 / 3))))
    thinned = lungs[::step, ::step, ::step]
    hu = sitk.Resample(ct, thinned, sitk.Transform(), sitk.sitkNearestNeighbor, _BEYOND_HU, sitk.sitkInt16)
    inside = sitk.GetArrayViewFromImage(thinned) > 0
    return np.asarray(sitk.GetArrayViewFromImage(hu)[inside])


def _scan_panels(seen: Seen, atlas: Atlas | None) -> Iterator[tuple[str, Pixels]]:
    whole = Extent.of_mask(seen.lungs) if seen.lungs is not None else None
    if seen.lungs is None or whole is None:
        extent = Extent.of_scan(seen.ct)
        for view, plane in _planes(extent, extent).items():
            yield view, _slice_panel(seen.ct, plane)
        return
    masks = {"right": seen.lungs == RIGHT, "left": seen.lungs == LEFT}
    extents = {side: Extent.of_mask(mask) for side, mask in masks.items()}
    if None in extents.values():
        whole = whole.centred(Extent.of_scan(seen.ct))  # what takes the missing lung's place shall be seen
    planes = _planes(whole, whole)
    centres = landmarks_in(atlas.grid, seen.transform, seen.lungs) if atlas and seen.transform else None
    reach_mm = grid_step_mm(atlas.grid) / 2 if atlas else 0.0

    def panel(plane: Plane) -> Pixels:
        near = None if centres is None else centres[plane.distance_mm(centres) <= reach_mm]
        return _slice_panel(seen.ct, plane, masks, near)

    yield "coronal", panel(planes["coronal"])
    yield "axial", panel(planes["axial"])
    for side in masks:
        if (lung := extents[side]) is None:
            yield f"no {side} lung", np.zeros((_HEIGHT, _WIDTHS["sagittal"]), np.uint8)
        else:
            yield f"sagittal, {side} lung", panel(_planes(whole, lung)["sagittal"])


def _planes(box: Extent, through: Extent) -> dict[View, Plane]:
    """Return the three views around a box, through the fullest slices of another."""
    sizes: dict[View, tuple[int, int]] = {view: (width, _HEIGHT) for view, width in _WIDTHS.items()}
    needed = [box.least_mm_per_px(view, size, _MARGIN_MM) for view, size in sizes.items()]
    mm_per_px = max(MM_PER_PX, *needed)
    across: dict[View, int] = {"coronal": 1, "axial": 2, "sagittal": 0}
    return {view: box.plane(view, size, mm_per_px, through.fullest_mm[across[view]]) for view, size in sizes.items()}


def _slice_panel(
    ct: sitk.Image,
    plane: Plane,
    masks: dict[str, sitk.Image] | None = None,
    landmarks_mm: npt.NDArray[np.float64] | None = None,
) -> Pixels:
    pixels = grey(plane.sample(ct, _BEYOND_HU), *WINDOW_HU)
    for hue, mask in (masks or {}).items():
        pixels[outline(plane.sample(mask) > 0.5, _OUTLINE_PX)] = shade(hue)
    if landmarks_mm is not None:
        for column, row in np.rint(plane.pixels(landmarks_mm)).astype(int):
            _cross(pixels, column, row)
    _ends(pixels, plane)
    return pixels


def _cross(pixels: Pixels, column: int, row: int) -> None:
    height, width = pixels.shape
    if 0 <= column < width and 0 <= row < height:
        pixels[max(row - _CROSS_PX, 0) : row + _CROSS_PX + 1, column] = shade("landmark")
        pixels[row, max(column - _CROSS_PX, 0) : column + _CROSS_PX + 1] = shade("landmark")


def _ends(pixels: Pixels, plane: Plane) -> None:
    """Write which sides are which, and how long five centimetres are."""
    first, last = _ENDS[plane.view]
    middle = pixels.shape[0] // 2 - _LINE // 2
    for left, letter in ((0, first), (pixels.shape[1] - text_width(last) - 2, last)):
        pixels[middle : middle + _LINE, left : left + text_width(letter) + 2] = 0  # it would vanish on bright tissue
        write_text(pixels, (left + 1, middle), letter)
    if plane.view == "coronal":
        length = round(_SCALE_MM / plane.mm_per_px)
        pixels[-_LINE:, : 16 + length + text_width("5 cm")] = 0
        pixels[-8:-4, 8 : 8 + length] = WHITE
        write_text(pixels, (12 + length, pixels.shape[0] - _LINE), "5 cm")


def _atlas_panels(seen: Seen, atlas: Atlas | None) -> Iterator[tuple[str, Pixels]]:
    if atlas is None or seen.lungs is None or seen.transform is None:
        return
    extent = Extent.of_mask(atlas.mask)
    assert extent is not None  # an atlas without lungs is refused where landmarks are laid
    fixed, moving = atlas.mask > 0, seen.lungs > 0
    planes = _planes(extent, extent)
    for plane, caption in ((planes["coronal"], "on the atlas"), (planes["sagittal"], "")):
        ours = plane.sample(moving, transform=seen.transform) > 0.5
        pixels = overlay(plane.sample(fixed) > 0.5, ours)
        _ends(pixels, plane)
        if caption:
            end = write_text(pixels, (pixels.shape[1] - text_width("atlas subject") - 4, 0), "atlas", "atlas")
            write_text(pixels, (end + 3, 0), "subject", "subject")
        yield caption, pixels


def overlay(atlas: npt.NDArray[np.bool_], subject: npt.NDArray[np.bool_]) -> Pixels:
    """Return two masks on each other: grey where both are, in each one's hue where only it is, both outlined."""
    pixels = np.zeros(atlas.shape, np.uint8)
    pixels[atlas & subject] = _DIM
    for hue, own, other in (("atlas", atlas, subject), ("subject", subject, atlas)):
        pixels[own & ~other] = shade(hue, _FILL)
        pixels[outline(own, _OUTLINE_PX)] = shade(hue)
    return pixels


def _histogram_panels(seen: Seen) -> Iterator[tuple[str, Pixels]]:
    if seen.lungs is None:
        return
    hu = lung_hu(seen.ct, seen.lungs)
    if len(hu):
        yield "HU in the lungs", histogram(hu)


def histogram(hu: npt.NDArray[np.int16]) -> Pixels:
    """Return the distribution of HU as bars, a pixel of width for every 4 HU, the tallest as high as the panel."""
    pixels = np.zeros((_HEIGHT, _HISTOGRAM_PX), np.uint8)
    counts = np.bincount(np.clip((hu.astype(np.int64) - _FIRST_HU) // _BIN_HU, 0, _BINS - 1), minlength=_BINS)
    left, foot, highest = (_HISTOGRAM_PX - _BINS) // 2, _HEIGHT - _LINE - 3, _HEIGHT - 2 * _LINE - 6
    heights = np.rint(counts / counts.max() * highest).astype(int)
    rows = np.arange(_HEIGHT)[:, None]
    pixels[:, left : left + _BINS][(rows < foot) & (rows >= foot - heights)] = _PALE
    pixels[foot, left : left + _BINS] = WHITE
    for value in (-1000, -500, 0):
        column = left + (value - _FIRST_HU) // _BIN_HU
        pixels[foot : foot + 4, column - 1 : column + 1] = WHITE
        write_text(pixels, (column - text_width(str(value)) // 2, foot + 4), str(value))
    limit = left + (_EMPHYSEMA_HU - _FIRST_HU) // _BIN_HU
    pixels[2:foot, limit : limit + 2] = shade("limit")
    write_text(pixels, (limit + 6, 0), str(_EMPHYSEMA_HU), "limit")
    return pixels
