"""The pictures of the quality control: where things are in them, and what they show."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from volumes import thorax

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import map_points
from drasclr_core.qc.canvas import (
    GREYS,
    WHITE,
    grey,
    outline,
    palette,
    shade,
    text_width,
    to_image,
    wrapped,
    write_text,
)
from drasclr_core.qc.picture import Atlas, Seen, draw_subject, grid_step_mm, histogram, landmarks_in, lung_hu, overlay
from drasclr_core.qc.planes import Extent, Plane
from drasclr_core.scan.images import to_canonical

MARKER_MM = np.array([13.0, -21.0, 37.0])  # of the middle: to the left, to the front, up


@pytest.fixture(scope="module")
def toy():
    """A thorax with its mask as image."""
    made = thorax((6.0, 6.0, 6.0))
    lungs = sitk.GetImageFromArray(made.lungs)
    lungs.CopyInformation(made.ct)
    return made.ct, lungs


@pytest.fixture(scope="module")
def atlas(toy):
    return Atlas(toy[1], LandmarkGrid.build(toy[1], patch_size=8, step=6))


@pytest.fixture(scope="module")
def transform():
    affine = sitk.AffineTransform(3)
    affine.SetMatrix([1.1, 0.05, 0, 0, 0.95, 0, 0, 0, 1.0])
    affine.SetTranslation((4.0, -3.0, 7.0))
    return affine


def marked(axes):
    """An empty volume with one bright ball, centred at the marker, on such axes."""
    points = np.stack(np.meshgrid(*[np.arange(-60.0, 60.0, 2)] * 3, indexing="ij")[::-1], axis=-1)
    ball = 1000 * (np.linalg.norm(points - MARKER_MM, axis=-1) < 6)
    image = sitk.GetImageFromArray(ball.astype(np.int16))
    image.SetSpacing((2.0,) * 3)
    image.SetOrigin((-60.0,) * 3)
    return to_canonical(image, axes)


@pytest.mark.parametrize("axes", ["LPS", "LAS", "RAI"])
@pytest.mark.parametrize(
    ("view", "column_mm", "row_mm"), [("coronal", 13, -37), ("axial", 13, -21), ("sagittal", -21, -37)]
)
def test_a_view_is_the_radiologists_whatever_the_axes_of_the_volume(axes, view, column_mm, row_mm):
    across = {"coronal": 1, "axial": 2, "sagittal": 0}[view]
    plane = Plane(view, tuple(MARKER_MM * (np.arange(3) == across)), 81, 61, 2.0)
    rows, columns = np.nonzero(plane.sample(marked(axes)) > 500)
    assert [columns.mean() - 40, rows.mean() - 30] == pytest.approx([column_mm / 2, row_mm / 2], abs=0.3)
    assert plane.pixels(MARKER_MM[None])[0] == pytest.approx([columns.mean(), rows.mean()], abs=0.3)
    assert plane.distance_mm(MARKER_MM[None]) == pytest.approx([0])


def test_beyond_the_image_lies_what_was_asked_for():
    plane = Plane("axial", (0.0, 0.0, 500.0), 5, 4, 2.0)
    assert plane.sample(marked("LPS"), outside=-7.0).tolist() == [[-7.0] * 5] * 4


def test_the_extent_of_a_mask_by_hand():
    array = np.zeros((6, 5, 4), np.uint8)
    array[1, 1:4, 2] = 1
    array[1:5, 2, 2] = 2
    mask = sitk.GetImageFromArray(array)
    mask.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    mask.SetOrigin((10.0, 20.0, 30.0))
    extent = Extent.of_mask(mask)
    assert extent.low_mm.tolist() == [12, 17, 31]
    assert extent.high_mm.tolist() == [12, 19, 34]
    assert extent.fullest_mm.tolist() == [12, 18, 31]
    assert Extent.of_mask(mask > 2) is None


def test_the_outline_is_what_an_erosion_takes_away():
    blobs = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(60, 50)), 3) > 0
    assert blobs[0].any()  # the edge cuts some
    assert (outline(blobs) == (blobs & ~ndimage.binary_erosion(blobs, border_value=1))).all()
    steps = ndimage.distance_transform_cdt(np.pad(blobs, 60, mode="edge"), "taxicab")[60:-60, 60:-60]
    assert (outline(blobs, 2) == (blobs & (steps <= 2))).all()


@pytest.mark.parametrize("convention", ["centre", "released"])
def test_landmarks_are_the_centres_of_the_patches(toy, transform, convention):
    grid = LandmarkGrid.build(toy[1], patch_size=8, step=6, convention=convention)
    mapped_mm = map_points(transform, grid.points_mm) + (0.0 if convention == "centre" else 3.5 * 6.0)
    assert np.abs(landmarks_in(grid, transform, toy[1]) - mapped_mm).max() <= 3.0  # half a voxel


def test_the_step_of_a_grid_is_found_again(toy):
    assert grid_step_mm(LandmarkGrid.build(toy[1], patch_size=8, step=7)) == pytest.approx(7 * 6.0)


def test_hu_are_the_voxels_own(toy):
    ct, lungs = toy
    inside = sitk.GetArrayFromImage(lungs) > 0
    assert sorted(lung_hu(ct, lungs)) == sorted(sitk.GetArrayFromImage(ct)[inside])


def test_the_histogram_stands_where_the_densities_are():
    pixels = histogram(np.array([-810] * 60 + [-410] * 30 + [3000], np.int16))
    heights = (pixels == 5 * GREYS // 8).sum(axis=0)
    (low, middle, high) = np.flatnonzero(heights > 1)[[0, 1, -1]]
    assert middle - low == 400 // 4
    assert heights[middle] == pytest.approx(heights[low] / 2, abs=1)
    assert high == 20 + 299  # beyond the scale: its last bar


def test_an_overlay_says_who_covers_what():
    atlas, subject = np.zeros((2, 24, 24), bool)
    atlas[4:16, 4:16] = subject[4:16, 10:22] = True
    pixels = overlay(atlas, subject)
    assert pixels[9, 7] == shade("atlas", 0.45)
    assert pixels[9, 18] == shade("subject", 0.45)
    assert pixels[9, 13] == GREYS // 4
    assert (pixels[outline(subject, 2)] == shade("subject")).all()
    assert pixels[0].max() == 0


def pixels_of(image):
    assert image.mode == "P"
    assert image.info == {}  # no text in the file
    return np.asarray(image)


def test_a_picture_shows_lungs_landmarks_and_atlas(toy, atlas, transform):
    ct, lungs = toy
    pixels = pixels_of(draw_subject(Seen(ct, lungs, transform), atlas))
    for hue in ("right", "left", "landmark", "subject", "limit"):
        assert (pixels == shade(hue)).any(), hue
    coronal = pixels[28:, :440]
    right, left = (np.nonzero(coronal == shade(hue))[1] for hue in ("right", "left"))
    assert right.max() < left.min()  # the patient's right is on the left


def test_what_is_lacking_is_left_out(toy, atlas, transform):
    ct, lungs = toy
    whole = draw_subject(Seen(ct, lungs, transform), atlas)
    unplaced, unfound = draw_subject(Seen(ct, lungs), atlas), draw_subject(Seen(ct))
    assert whole.width > unplaced.width > unfound.width
    assert not (pixels_of(unplaced) == shade("landmark")).any()
    assert pixels_of(unfound).max() == WHITE  # greys alone
    assert draw_subject(Seen(ct, lungs), atlas, title="refused").height == unplaced.height + 28


def test_a_long_title_stands_in_as_many_lines_as_it_needs(toy):
    ct, _ = toy
    words = "refused: " + " ".join(f"word{number}" for number in range(60))
    plain, titled = draw_subject(Seen(ct)), draw_subject(Seen(ct), title=words)
    lines = wrapped(words, plain.width)
    assert " ".join(lines) == words
    assert len(lines) > 1
    assert max(map(text_width, lines)) <= plain.width
    assert titled.size == (plain.width, plain.height + 28 * len(lines))


def test_crosses_are_thin_and_hide_little(toy, atlas, transform):
    pixels = pixels_of(draw_subject(Seen(*toy, transform), atlas))
    crosses = ndimage.label(pixels == shade("landmark"), np.ones((3, 3)))[0]
    sizes = np.bincount(crosses.ravel())[1:]
    assert sizes.max() == 17  # nine across and nine down, the middle once: 12 of 200 mm2


def test_a_lung_that_is_missing_is_named(toy):
    ct, lungs = toy
    pixels = pixels_of(draw_subject(Seen(ct, lungs * (lungs == 1))))
    assert (pixels == shade("right")).any()
    assert not (pixels == shade("left")).any()
    assert np.nonzero(pixels[28:, :440] == shade("right"))[1].max() < 220  # the other half is seen as well


def test_lungs_too_large_for_the_scale_are_drawn_smaller(toy):
    ct, lungs = (sitk.Image(image) for image in toy)
    for image in (ct, lungs):
        image.SetSpacing((12.0,) * 3)
    coronal = pixels_of(draw_subject(Seen(ct, lungs)))[28:, :440]
    rows, columns = np.nonzero(coronal == shade("right"))
    assert 0 < rows.min() < rows.max() < 399
    assert columns.min() > 0


def test_the_palette_has_room_for_all_and_letters_are_drawn():
    assert len(palette()) <= 3 * 256
    assert len(palette()) // 3 > max(shade(hue) for hue in ("right", "limit"))
    assert grey(np.array([-2000, -1350, 150, 3000]), -1350, 150).tolist() == [0, 0, WHITE, WHITE]
    pixels = np.zeros((15, 40), np.uint8)
    end = write_text(pixels, (30, 0), "overflows", "atlas")
    assert end > 40
    assert pixels[:, 30:].any()
    assert to_image(pixels).getpixel((0, 0)) == 0
