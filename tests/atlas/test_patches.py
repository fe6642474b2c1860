"""Patches: against SimpleITK's own mapping, by hand at the volume's edges, and byte for byte through the store."""

import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import check_valid, cut_patches, map_points, open_patches, patch_starts, write_patches
from drasclr_core.base.errors import InputError, QualityError

LPS, LAS = (1, 1, 1), (1, -1, 1)


def image_of(array, origin=(0.0, 0.0, 0.0), direction=LPS, spacing_mm=1.0):
    image = sitk.GetImageFromArray(array)
    image.SetOrigin(origin)
    image.SetSpacing([spacing_mm] * 3)
    image.SetDirection(np.diag(np.float64(direction)).ravel())
    return image


def random_affine(rng):
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))).ravel())
    affine.SetCenter(rng.uniform(-50, 50, 3))
    affine.SetTranslation(rng.uniform(-9, 9, 3))
    return affine


def grid_on(direction=LPS, convention="centre", size=(38, 34, 36), origin=(-12.3, 7.7, 100.1), patch_size=8, step=9):
    """Return a grid on a mask that is all lung, of the given size (x, y, z)."""
    mask = image_of(np.ones(size[::-1], np.uint8), origin, direction)
    return LandmarkGrid.build(mask, patch_size=patch_size, step=step, convention=convention)


def test_points_are_mapped_as_simpleitk_maps_them():
    rng = np.random.default_rng(3)
    affine, points_mm = random_affine(rng), rng.uniform(-200, 200, (50, 3))
    expected = [affine.TransformPoint(point) for point in points_mm]
    np.testing.assert_allclose(map_points(affine, points_mm), expected, rtol=0, atol=1e-10)


def test_released_starts_are_simpleitks_index():
    rng = np.random.default_rng(4)
    affine, grid = random_affine(rng), grid_on(LAS, "released")
    image = image_of(np.zeros((5, 5, 5), np.int16), (3.3, -4.4, 90.0), LAS)
    expected = [image.TransformPhysicalPointToIndex(affine.TransformPoint(point)) for point in grid.points_mm]
    assert patch_starts(grid, affine, image).tolist() == [list(index) for index in expected]


def test_a_start_halfway_between_two_voxels_is_the_upper_one():
    grid = grid_on(origin=(0.0, 0.0, 0.0))
    image = image_of(np.zeros((5, 5, 5), np.int16))
    halfway = sitk.AffineTransform(3)
    halfway.SetTranslation((0.5, 0.5, 0.5))
    starts = patch_starts(grid, sitk.AffineTransform(3), image)
    assert set(starts.ravel() % 2) == {0, 1}  # to the nearest even one would be another, for some
    assert np.array_equal(patch_starts(grid, halfway, image), starts + 1)


def test_centre_starts_are_the_designs_formula_on_tilted_axes():
    rng = np.random.default_rng(5)
    affine, grid = random_affine(rng), grid_on()
    image = image_of(np.zeros((5, 5, 5), np.int16), (3.3, -4.4, 90.0))
    image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    for start, point in zip(patch_starts(grid, affine, image), grid.points_mm, strict=True):
        index = np.array(image.TransformPhysicalPointToContinuousIndex(affine.TransformPoint(point)))
        assert start.tolist() == np.floor(index - 3.5 + 0.5).tolist()


@pytest.mark.parametrize("convention", ["centre", "released"])
@pytest.mark.parametrize("direction", [LPS, LAS])
def test_atlas_on_itself_gives_back_the_corners(convention, direction):
    grid = grid_on(direction, convention)
    image = image_of(np.zeros((36, 34, 38), np.int16), (-12.3, 7.7, 100.1), direction)
    corners = np.argwhere(np.ones((4, 3, 4))) * 9  # 38, 34 and 36 voxels hold 4, 3 and 4 steps
    assert patch_starts(grid, sitk.AffineTransform(3), image).tolist() == corners.tolist()


@pytest.mark.parametrize(("convention", "direction"), [("centre", LPS), ("centre", LAS), ("released", LAS)])
def test_a_spot_at_a_known_place_lands_where_it_must(convention, direction):
    """A bright voxel right, anterior and superior of a landmark must be so in the patch as well.

    Atlas and subject differ by a shift of (30, -20, 10) mm. In an LPS volume right and anterior are small indices; in
    an LAS volume anterior is a large one.
    """
    sign = np.array(direction)
    atlas_origin = np.array([-12.0, 7.0, 100.0])
    grid = grid_on(direction, convention, origin=atlas_origin)
    shift_mm = np.array([30.0, -20.0, 10.0])
    shift = sitk.AffineTransform(3)
    shift.SetTranslation(shift_mm)
    subject = image_of(np.full((40, 42, 44), -850, np.int16), atlas_origin + shift_mm - sign * (3, 2, 1), direction)

    landmark = 17
    corner_mm = grid.points_mm[landmark] - sign * (3.5 if convention == "centre" else 0)
    # From the patch's first voxel: 1 mm to the left, 6 mm along the atlas's own y, 5 mm up.
    spot_mm = corner_mm + sign * (1, 6, 5)
    subject[subject.TransformPhysicalPointToIndex(spot_mm + shift_mm)] = 200

    starts = patch_starts(grid, shift, subject)
    hu, valid = cut_patches(sitk.GetArrayFromImage(subject), starts[:, ::-1], 8)
    assert valid.all()
    assert np.argwhere(hu[landmark] == 200).tolist() == [[5, 6, 1]]
    assert starts[landmark].tolist() == [9 + 3, 9 + 2, 9 + 1]  # landmark 17 of 4 x 3 x 4: corner (9, 9, 9)


def test_starts_need_the_grids_spacing_and_axes():
    image = image_of(np.zeros((5, 5, 5), np.int16), spacing_mm=1.25)
    with pytest.raises(InputError, match=r"1\.25.*the landmark grid's 1\.0 mm"):
        patch_starts(grid_on(), sitk.AffineTransform(3), image)
    with pytest.raises(InputError, match=r"preprocess\.axes"):
        patch_starts(grid_on(LAS, "released"), sitk.AffineTransform(3), image_of(np.zeros((5, 5, 5), np.int16)))


def test_cut_agrees_with_padding():
    rng = np.random.default_rng(6)
    ct = rng.integers(-1000, 400, (9, 11, 7), dtype=np.int16)
    starts = np.vstack([rng.integers(-5, 9, (300, 3)), rng.integers(-19, 19, (100, 3))])
    padded = np.pad(ct, 20, constant_values=-1024)
    hu, valid = cut_patches(ct, starts, 4)
    for patch, inside, (z, y, x) in zip(hu, valid, starts, strict=True):
        np.testing.assert_array_equal(patch, padded[z + 20 : z + 24, y + 20 : y + 24, x + 20 : x + 24])
        middle = np.array([z, y, x]) + 1.5
        assert inside == all(-0.5 < c < n - 0.5 for c, n in zip(middle, ct.shape, strict=True))
    assert 0.1 < valid.mean() < 0.6
    assert hu.dtype == np.int16


def test_a_patch_is_valid_while_its_centre_is_inside():
    ct = np.zeros((8, 8, 8), np.int16)
    starts = np.array([[0, 0, 0], [-1, 0, 0], [-2, 0, 0], [0, 0, 5], [0, 0, 6], [0, 99, 0], [-99, 0, 0]])
    hu, valid = cut_patches(ct, starts, 4)
    assert valid.tolist() == [True, True, False, True, False, False, False]
    assert (hu == 0).mean(axis=(1, 2, 3)).tolist() == [1, 0.75, 0.5, 0.75, 0.5, 0, 0]
    assert set(np.unique(hu)) == {-1024, 0}


def test_too_many_invalid_patches_exclude():
    valid = np.array([True] * 3 + [False])
    check_valid(valid, 0.25)
    with pytest.raises(QualityError, match=r"25\.0% of the landmarks .* at most 20\.0%"):
        check_valid(valid, 0.2)


def test_store_gives_every_byte_back_from_few_files(tmp_path):
    rng = np.random.default_rng(7)
    hu = rng.integers(-1024, 3000, (13, 8, 8, 8), dtype=np.int16)
    index_zyx, valid = rng.integers(-9, 99, (13, 3)), rng.random(13) < 0.5
    write_patches(tmp_path / "patches.zarr", hu, index_zyx, valid)
    group = open_patches(tmp_path / "patches.zarr")
    for name, expected in (("hu", hu), ("index_zyx", index_zyx), ("valid", valid)):
        np.testing.assert_array_equal(group[name][:], expected)
        assert group[name][:].dtype == expected.dtype
    np.testing.assert_array_equal(group["hu"][4], hu[4])
    assert (group["hu"].array.chunks, group["hu"].array.shards) == ((1, 8, 8, 8), (13, 8, 8, 8))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 7


def test_same_patches_same_bytes(tmp_path):
    hu = np.random.default_rng(8).integers(-1024, 3000, (5, 8, 8, 8), dtype=np.int16)
    for name in ("a", "b"):
        write_patches(tmp_path / name, hu, np.zeros((5, 3), np.int64), np.ones(5, bool))
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_missing_store_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nobody/patches\.zarr is not a patch store"):
        open_patches(tmp_path / "nobody" / "patches.zarr")
