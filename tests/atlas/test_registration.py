"""Registration: known affines come back, in the right direction, the same every time; bad ones are refused."""

import os
import tempfile

import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.atlas import registration
from drasclr_core.atlas.patches import map_points
from drasclr_core.atlas.registration import (
    RegistrationLimits,
    read_transform,
    register_to_atlas,
    write_transform,
)
from drasclr_core.base.errors import DamagedError, InputError, QualityError
from drasclr_core.scan.lung_images import coarse_lungs

LAS = (1, -1, 1)
SUBJECT_ORIGIN = np.array([-140.0, -260.0, 30.0])


def inside(points_mm, centre, radii):
    return ((np.asarray(points_mm) - centre) ** 2 / np.square(radii)).sum(axis=-1) < 1


def lungs_at(points_mm):
    """Return the labels at points of atlas space: a large right lung, and a left one with a notch for the heart."""
    right = inside(points_mm, (-65, 20, -1000), (50, 75, 110))
    left = inside(points_mm, (68, 25, -995), (42, 72, 118)) & ~inside(points_mm, (40, -25, -1050), (45, 50, 60))
    return np.where(right, 1, np.where(left, 2, 0))


def image_of_lungs(transform, origin, direction, size=(66, 62, 76), spacing_mm=4.0):
    """Return the mask on a grid of its own; `transform` maps atlas points to its points."""
    matrix = np.diag(np.float64(direction)) * spacing_mm
    index = np.moveaxis(np.indices(size[::-1]), 0, -1)[..., ::-1]
    points_mm = index @ matrix.T + origin
    labels = lungs_at(map_points(transform.GetInverse(), points_mm.reshape(-1, 3))).reshape(size[::-1])
    image = sitk.GetImageFromArray(labels.astype(np.uint8))
    image.SetOrigin(np.float64(origin))
    image.SetSpacing([spacing_mm] * 3)
    image.SetDirection(np.diag(np.float64(direction)).ravel())
    return image


@pytest.fixture(scope="module")
def atlas():
    return image_of_lungs(sitk.AffineTransform(3), (-130.0, 150.0, -1150.0), LAS)


@pytest.fixture(scope="module")
def truth():
    """Return an affine, atlas to subject: turned, stretched, sheared and moved from z = -1000 to about 180 mm."""
    affine = sitk.AffineTransform(3)
    turn = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.05, 0.15)
    stretch = np.array([[1.1, 0.05, 0], [0, 0.9, -0.04], [0, 0, 0.95]])
    affine.SetMatrix((np.reshape(turn.GetMatrix(), (3, 3)) @ stretch).ravel())
    affine.SetCenter((0.0, 20.0, -1000.0))
    affine.SetTranslation((-10.0, -150.0, 1180.0))
    return affine


@pytest.fixture(scope="module")
def subject(truth):
    return image_of_lungs(truth, SUBJECT_ORIGIN, (1, 1, 1))


@pytest.fixture(scope="module")
def found(subject, atlas):
    return register_to_atlas(subject, atlas, spacing_mm=8.0)


def distances_mm(transform, truth):
    points_mm = np.random.default_rng(0).uniform((-110, -40, -1100), (110, 90, -890), (200, 3))
    return np.linalg.norm(map_points(transform, points_mm) - map_points(truth, points_mm), axis=1)


def test_known_affine_comes_back_from_atlas_to_subject(found, truth):
    assert distances_mm(found.transform, truth).max() < 2.0
    assert distances_mm(found.transform.GetInverse(), truth).min() > 500


def test_metrics_are_the_affines(found, truth):
    matrix = np.reshape(truth.GetMatrix(), (3, 3))
    scales = np.linalg.svd(matrix, compute_uv=False)
    metrics = found.metrics
    assert metrics["dice"] > 0.95
    assert metrics["determinant"] == pytest.approx(np.linalg.det(matrix), rel=0.02)
    assert (metrics["scale_min"], metrics["scale_max"]) == pytest.approx((scales[-1], scales[0]), rel=0.02)
    assert metrics["centroid_distance_mm"] < 1
    assert metrics["starts_tried"] == 1
    # The turn about three axes is near the norm of its three small angles; the shear adds its own half.
    assert metrics["rotation_deg"] == pytest.approx(np.rad2deg(np.linalg.norm([0.1, -0.05, 0.15])), abs=2.0)


def test_masks_that_do_not_tell_the_sides_do_as_well(subject, atlas, truth):
    result = register_to_atlas(subject > 0, atlas, spacing_mm=8.0)
    assert distances_mm(result.transform, truth).max() < 3.0


def test_same_input_same_bits_and_the_seed_matters(found, subject, atlas):
    again = register_to_atlas(subject, atlas, spacing_mm=8.0)
    assert again.transform.GetParameters() == found.transform.GetParameters()
    assert again.metrics == found.metrics
    other = register_to_atlas(subject, atlas, spacing_mm=8.0, seed=1)
    assert other.transform.GetParameters() != found.transform.GetParameters()


def test_nothing_is_left_in_the_temporary_folder_or_the_environment(subject, atlas, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("ANTS_RANDOM_SEED", "77")
    monkeypatch.delenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", raising=False)
    register_to_atlas(subject, atlas, spacing_mm=16.0)
    assert list(tmp_path.iterdir()) == []
    assert os.environ["ANTS_RANDOM_SEED"] == "77"
    assert "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS" not in os.environ


def test_file_gives_the_same_map_to_us_and_to_ants(found, tmp_path):
    import ants

    path = tmp_path / "atlas_to_subject.mat"
    write_transform(found, path)
    assert list(tmp_path.iterdir()) == [path]
    point = (12.0, 34.0, -1040.0)
    expected = found.transform.TransformPoint(point)
    assert read_transform(path).TransformPoint(point) == expected
    theirs = ants.apply_ants_transform_to_point(ants.read_transform(str(path)), point)
    np.testing.assert_allclose(theirs, expected, rtol=1e-6)


def test_unreadable_transform_is_named(tmp_path):
    (tmp_path / "broken.mat").write_bytes(b"not a transform")
    for name in ("broken.mat", "missing.mat"):
        with pytest.raises(DamagedError, match=f"{name} is damaged"):
            read_transform(tmp_path / name)


def fake_ants(monkeypatch, results):
    """Let ANTs return `results`, one per start; "start" stands for the start itself."""
    queue = iter(results)

    def run(fixed, moving, start, seed):
        result = next(queue)
        return start if result == "start" else result

    monkeypatch.setattr(registration, "_run_ants", run)


def test_further_starts_are_tried_until_one_is_good(subject, atlas, monkeypatch):
    fake_ants(monkeypatch, [None, sitk.AffineTransform(3), "start"])
    limits = RegistrationLimits(min_dice=0.3)
    assert register_to_atlas(subject, atlas, spacing_mm=8.0, limits=limits).metrics["starts_tried"] == 3


def test_every_missed_limit_is_named_with_its_measurement(subject, atlas, monkeypatch):
    mirror = sitk.AffineTransform(3)
    mirror.SetMatrix((-1.0, 0, 0, 0, 2.5, 0, 0, 0, 1))
    fake_ants(monkeypatch, [mirror] * 4)
    with pytest.raises(QualityError) as caught:
        register_to_atlas(subject, atlas, spacing_mm=8.0)
    for part in ("dice is 0, allowed 0.8 to", "determinant is -2.5, allowed 0.2 to 5", "scale_max is 2.5", "to 30"):
        assert part in str(caught.value)
    assert (caught.value.metrics["dice"], caught.value.metrics["determinant"]) == (0, pytest.approx(-2.5))


def test_the_best_start_is_reported_not_the_first_or_the_last(subject, atlas, truth, monkeypatch):
    def off_by(shift_mm):
        affine = sitk.AffineTransform(truth)
        affine.SetTranslation(np.add(truth.GetTranslation(), (shift_mm, 0, 0)))
        return affine

    fake_ants(monkeypatch, [off_by(60.0), None, off_by(15.0), off_by(40.0)])
    with pytest.raises(QualityError) as caught:
        register_to_atlas(subject, atlas, spacing_mm=8.0, limits=RegistrationLimits(min_dice=0.99))
    assert caught.value.metrics["starts_tried"] == 3
    assert 14 < caught.value.metrics["centroid_distance_mm"] < 16


def column(height):
    """Return a lung of 10 x 10 voxels of 4 mm, so many of them high, always from the same bottom."""
    labels = np.zeros((80, 30, 30), np.uint8)
    labels[10 : 10 + height, 10:20, 10:20] = 1
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((4.0, 4.0, 4.0))
    return image


def test_lung_that_is_mapped_beyond_the_atlas_counts_against_the_overlap(monkeypatch):
    # 80 mm and 240 mm high; the atlas's grid ends 24 mm above its own.
    fake_ants(monkeypatch, [sitk.AffineTransform(3)])
    limits = RegistrationLimits(min_dice=0.1, max_centroid_distance_mm=1000)
    found = register_to_atlas(column(60), column(20), spacing_mm=4.0, limits=limits)
    assert found.metrics["dice"] == pytest.approx(2 * 20 / (20 + 60))


@pytest.mark.parametrize(("height", "atlas_height"), [(5, 6), (6, 5)])
def test_a_coarse_voxel_of_which_half_is_lung_is_no_overlap(monkeypatch, height, atlas_height):
    # Of 5 layers, averaged two by two, the last is half a block: of 6 in the other mask 2 of 3 blocks are in both.
    fake_ants(monkeypatch, [sitk.AffineTransform(3)])
    masks = [column(height), column(atlas_height)]
    found = register_to_atlas(*masks, spacing_mm=8.0, limits=RegistrationLimits(min_dice=0.1))
    assert found.metrics["dice"] == pytest.approx(2 * 4 / (5 + 6))


def test_when_ants_finds_nothing_the_subject_is_excluded(subject, atlas, monkeypatch):
    fake_ants(monkeypatch, [None] * 4)
    with pytest.raises(QualityError, match="no overlap") as caught:
        register_to_atlas(subject, atlas, spacing_mm=8.0)
    assert caught.value.metrics == {}


def test_empty_masks_are_refused(subject, atlas):
    with pytest.raises(QualityError, match="lung mask is empty"):
        register_to_atlas(subject * 0, atlas)
    with pytest.raises(InputError, match="atlas lung mask is empty"):
        register_to_atlas(subject, atlas * 0)


def test_first_start_alone_undoes_shift_and_stretch():
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(np.diag([1.25, 0.75, 1.5]).ravel())
    affine.SetTranslation((30.0, -20.0, 400.0))
    fixed = coarse_lungs(image_of_lungs(sitk.AffineTransform(3), (-130.0, 150.0, -1150.0), LAS), 4.0)
    moving = coarse_lungs(image_of_lungs(affine, (-160.0, -120, -1350), (1, 1, 1), (86, 60, 110)), 4.0)
    assert distances_mm(registration._start_transform(fixed, moving, seed=0, start=0), affine).max() < 1.0


def test_further_starts_differ_and_are_seeded():
    fixed = coarse_lungs(image_of_lungs(sitk.AffineTransform(3), (-130.0, 150.0, -1150.0), LAS), 8.0)
    starts = [registration._start_transform(fixed, fixed, seed=5, start=start).GetMatrix() for start in (0, 1, 2, 1)]
    assert np.allclose(starts[0], np.eye(3).ravel())
    assert starts[1] == starts[3]
    assert starts[1] != starts[2]
    assert np.allclose(np.linalg.svd(np.reshape(starts[1], (3, 3)))[1], 1)


def test_coarse_lungs_by_hand():
    # A right lung of 4 x 2 x 2 voxels and a left one of 2 x 2 x 2, of 1 x 1 x 2 mm, in a volume they touch the edge of.
    labels = np.zeros((4, 4, 20), np.uint8)
    labels[0:2, 0:2, 0:4] = 7
    labels[0:2, 0:2, 10:12] = 9
    mask = sitk.GetImageFromArray(labels)
    mask.SetSpacing((1.0, 1.0, 2.0))
    mask.SetOrigin((100.0, 200.0, 300.0))
    mask.SetDirection(np.diag([1.0, -1.0, 1.0]).ravel())
    lungs = coarse_lungs(mask, 2.0)
    assert lungs.fraction.GetSpacing() == (2.0, 2.0, 2.0)
    assert lungs.volume_mm3 == 48
    centroid_x = 100 + (16 * 1.5 + 8 * 10.5) / 24
    assert lungs.centroid_mm.tolist() == pytest.approx([centroid_x, 199.5, 301])
    for point, share, side in (((100.5, 199.5, 302), 1, -1), ((110.5, 199.5, 300), 1, 1), ((106.5, 199.5, 300), 0, 0)):
        index = lungs.fraction.TransformPhysicalPointToIndex(point)
        assert (lungs.fraction[index], lungs.sides[index]) == (share, side)
    assert coarse_lungs(mask > 0, 2.0).sides is None
