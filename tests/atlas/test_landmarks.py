"""The landmark grid: against the published landmarks, plain loops, and by hand."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from reference import published_grid, reference_file

from drasclr_core.atlas.landmark_files import load_corners
from drasclr_core.atlas.landmarks import LandmarkGrid, grid_landmarks, neighbours
from drasclr_core.base.errors import InputError

LINE = np.array([[0.0, 0, 0], [10, 0, 0], [30, 0, 0], [31, 0, 0]])


@pytest.fixture(scope="module", params=["counts", "published files"])
def atlas(request):
    if request.param == "counts":
        return published_grid()
    mask, corners = (reference_file(name) for name in ("atlas_lung_mask.nii.gz", "atlas_patch_loc.npy"))
    return sitk.ReadImage(str(mask)), load_corners(corners)


def small_mask(size=(30, 24, 22), direction=(1, 1, 1), spacing_mm=1.0):
    """Return a mask, all lung, of size (x, y, z) and origin (5, -7, 11) mm."""
    mask = sitk.Image(size, sitk.sitkUInt8) + 1
    mask.SetDirection(np.diag(np.float64(direction)).ravel())
    mask.SetSpacing([spacing_mm] * 3)
    mask.SetOrigin((5.0, -7.0, 11.0))
    return mask


def test_published_atlas_gives_575_of_the_581_published_landmarks(atlas):
    mask, published = atlas
    ours = grid_landmarks(sitk.GetArrayFromImage(mask))
    assert ours.shape == (575, 3)
    assert ours.dtype == np.int64
    # The published order as well: what is left of it after dropping the other six is ours, row by row.
    kept = set(map(tuple, ours))
    assert [row for row in published.tolist() if tuple(row) in kept] == ours.tolist()


def plain_grid(mask, patch_size, step, fraction):
    corners = []
    size_z, size_y, size_x = mask.shape
    for x in range(0, size_x - patch_size, step):
        for y in range(0, size_y - patch_size, step):
            for z in range(0, size_z - patch_size, step):
                patch = mask[z : z + patch_size, y : y + patch_size, x : x + patch_size]
                if np.mean(patch > 0) > fraction:
                    corners.append([x, y, z])
    return corners


@pytest.mark.parametrize(("patch_size", "step", "fraction"), [(4, 3, 0.1), (5, 5, 0.5), (3, 7, 0.0)])
def test_grid_agrees_with_a_plain_loop(patch_size, step, fraction):
    rng = np.random.default_rng(1)
    mask = (rng.random((17, 23, 20)) < np.linspace(0, 1, 20)) * rng.integers(1, 3, (17, 23, 20))
    expected = plain_grid(mask, patch_size, step, fraction)
    assert len(expected) > 0
    assert grid_landmarks(mask, patch_size, step, fraction).tolist() == expected


def test_exactly_the_fraction_is_not_enough():
    mask = np.zeros((3, 3, 3), np.uint8)
    mask[0, 0, 0] = 1  # one of the patch's 8 voxels
    assert grid_landmarks(mask, 2, 1, 0.124).tolist() == [[0, 0, 0]]
    with pytest.raises(InputError, match="No patch of 2 voxels"):
        grid_landmarks(mask, 2, 1, 0.125)


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (np.ones((4, 4)), {}, "has 2 dimensions"),
        (np.ones((8, 8, 8)), {}, "No patch of 32 voxels"),
        (np.ones((8, 8, 8)), {"patch_size": 0}, "patch_size 0"),
        (np.ones((8, 8, 8)), {"min_lung_fraction": 1.0}, "min_lung_fraction 1.0"),
    ],
)
def test_grid_says_what_is_wrong(mask, options, message):
    with pytest.raises(InputError, match=message):
        grid_landmarks(mask, **options)


def test_neighbours_by_hand():
    assert neighbours(LINE, k=2).tolist() == [[1, 2], [0, 2], [3, 1], [2, 1]]


def test_neighbours_agree_with_a_plain_loop():
    centres = np.random.default_rng(0).normal(size=(40, 3))
    for own, row in enumerate(neighbours(centres, k=5)):
        others = sorted(set(range(40)) - {own}, key=lambda q: np.linalg.norm(centres[own] - centres[q]))
        assert row.tolist() == others[:5]


def test_ties_go_to_the_lower_index_in_any_unit_and_place():
    corners = np.argwhere(np.ones((5, 4, 6))) * 26
    expected = []
    for own in corners:
        squared = ((corners - own) ** 2).sum(1).tolist()  # Python integers: ties are exact
        expected.append(sorted(range(len(corners)), key=lambda q: (squared[q], q))[1:8])
    assert neighbours(corners, 7).tolist() == expected
    assert neighbours(corners * 0.1 - [189.1220703125, 9.957916259765625, 1132.5], 7).tolist() == expected
    assert neighbours(corners * 0.7031 + np.pi, 7).tolist() == expected


@pytest.mark.parametrize("k", [0, 4])
def test_neighbours_says_which_k_is_allowed(k):
    with pytest.raises(InputError, match="from 1 to 3"):
        neighbours(LINE, k=k)


def test_coinciding_or_missing_coordinates_are_refused():
    with pytest.raises(InputError, match="Landmarks 0 and 2 coincide"):
        neighbours(LINE[[0, 1, 0]], k=1)
    with pytest.raises(InputError, match="finite numbers"):
        neighbours(LINE * np.nan, k=1)


def test_centre_grid_by_hand():
    # Corners 0, 10, 20 in x; 0, 10 in y; 0, 10 in z, patch of 4: the centre is 1.5 voxels further.
    grid = LandmarkGrid.build(small_mask(), patch_size=4, step=10, neighbours=2)
    assert len(grid) == 12
    assert grid.points_mm[0].tolist() == [6.5, -5.5, 12.5]
    assert grid.points_mm[-1].tolist() == [26.5, 4.5, 22.5]
    assert grid.codes[[0, 1, 6, -1]].tolist() == [[-1, -1, -1], [-1, -1, 1], [0, 1, -1], [1, 1, 1]]
    assert grid.neighbours[0].tolist() == [1, 2]
    assert grid.code_of(np.array([[16.5, -0.5, 37.5]])).tolist() == [[0, 0, 4]]


def test_released_grid_by_hand_on_las_axes():
    grid = LandmarkGrid.build(
        small_mask(direction=(1, -1, 1)), patch_size=4, step=10, neighbours=2, convention="released"
    )
    assert grid.direction == (1, -1, 1)
    assert grid.points_mm[-1].tolist() == [25.0, -17.0, 21.0]  # corner (20, 10, 10); y runs to anterior
    assert grid.codes[[0, 6, -1]].tolist() == [[-1, -1, -1], [0, 1, -1], [1, 1, 1]]
    assert grid.code_of(np.array([[5.0, -7, 11], [15, -12, 16]])).tolist() == [[-1, -1, -1], [0, 0, 0]]


def test_released_codes_count_from_the_first_voxel_not_from_the_lowest_corner():
    corners = np.array([[10, 4, 9], [20, 8, 6], [15, 6, 18]])
    grid = LandmarkGrid.build(small_mask(), patch_size=4, neighbours=1, convention="released", corners=corners)
    expected = [[0, 0, 0], [1, 1, -1 / 3], [0.5, 0.5, 1]]  # corner / (20, 8, 18) * 2 - 1
    np.testing.assert_allclose(grid.codes, expected, atol=1e-14)


def test_released_codes_are_the_released_formula(atlas):
    mask, published = atlas
    grid = LandmarkGrid.build(mask, corners=published, convention="released")
    np.testing.assert_allclose(grid.codes, published / published.max(0) * 2 - 1, atol=1e-14)
    assert len(grid) == 581


def test_centre_codes_follow_lps_however_the_atlas_is_stored():
    lps = small_mask((33, 33, 33))
    las = sitk.Flip(lps, (False, True, False))
    kwargs = {"patch_size": 3, "step": 5, "neighbours": 1}
    grids = [LandmarkGrid.build(image, **kwargs) for image in (lps, las)]
    assert grids[1].direction == (1, -1, 1)
    for grid in grids:
        anterior = grid.points_mm[:, 1] == grid.points_mm[:, 1].min()
        assert (grid.codes[anterior, 1] == -1).all()


@pytest.mark.parametrize("convention", ["centre", "released"])
def test_grid_survives_json(convention):
    grid = LandmarkGrid.build(small_mask(spacing_mm=0.7), patch_size=4, step=7, convention=convention)
    again = LandmarkGrid.from_json(json.loads(json.dumps(grid.to_json())))
    for name, value in vars(grid).items():
        np.testing.assert_array_equal(getattr(again, name), value)
        assert np.asarray(getattr(again, name)).dtype == np.asarray(value).dtype


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "keys must be exactly"),
        ({"convention": "corner"}, "convention out of range"),
        ({"codes": [[0.0, 0.0]]}, "points_mm, codes out of range"),
        ({"points_mm": [[0.0, None, 1.0]]}, "points_mm"),
        ({"neighbours": [[99]] * 12}, "neighbours out of range"),
        ({"direction": [1, 1]}, "direction out of range"),
    ],
)
def test_broken_json_is_refused(change, message):
    content = LandmarkGrid.build(small_mask(), patch_size=4, step=10).to_json()
    with pytest.raises(InputError, match=message):
        LandmarkGrid.from_json({**content, **change})


def test_atlas_must_be_isotropic_and_straight():
    flat = small_mask()
    flat.SetSpacing((1.0, 1.0, 2.0))
    with pytest.raises(InputError, match="not isotropic"):
        LandmarkGrid.build(flat, patch_size=4, step=10)
    tilted = small_mask()
    tilted.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    with pytest.raises(InputError, match="direction"):
        LandmarkGrid.build(tilted, patch_size=4, step=10)


def test_build_says_what_is_wrong():
    with pytest.raises(InputError, match="'corner': choose one of centre, released"):
        LandmarkGrid.build(small_mask(), convention="corner")
    with pytest.raises(InputError, match="share one z coordinate"):
        LandmarkGrid.build(small_mask((30, 30, 12)), patch_size=4, step=10)
    with pytest.raises(InputError, match=r"1 landmark corners, \[27, 0, 0\] first"):
        LandmarkGrid.build(small_mask(), patch_size=4, corners=np.array([[0, 0, 0], [27, 0, 0]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [(np.zeros((2, 3)), "float64"), (np.zeros((2, 2), int), r"\(2, 2\)"), (np.array([{}]), "not a readable")],
)
def test_landmark_file_is_checked(tmp_path, content, message):
    np.save(tmp_path / "corners.npy", content, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        load_corners(tmp_path / "corners.npy")


def test_missing_landmark_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.npy"):
        load_corners(tmp_path / "nowhere.npy")
