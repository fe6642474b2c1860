"""The true disease of patches: against a plain loop over voxels, by hand, and through its file."""

import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.atlas.patches import write_patches
from drasclr_core.base.files import Record, write_record
from drasclr_core.evaluate.truth import PatchDisease, label_counts, measure_disease, read_cohort, read_disease
from drasclr_core.phantom.labels import DISEASES


def image_of(array, spacing_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0), signs=(1, 1, 1)):
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin_mm)
    image.SetDirection(np.diag(np.array(signs, float)).ravel())
    return image


def labels_of_points(points_mm, truth, lungs, spacing_mm, origin_mm):
    """Return the label of the native voxel nearest to each point, 0 outside the lungs as 'no lung'."""
    counts = [0] * 5
    for point in points_mm:
        index = np.floor((point - origin_mm) / spacing_mm + 0.5).astype(int)[::-1]
        if (index >= 0).all() and (index < truth.shape).all() and lungs[tuple(index)]:
            counts[truth[tuple(index)]] += 1
    return counts


def test_counts_agree_with_a_plain_loop_over_voxels():
    rng = np.random.default_rng(0)
    truth, lungs = rng.integers(0, 5, (9, 12, 14)).astype(np.uint8), rng.integers(0, 3, (9, 12, 14)).astype(np.uint8)
    native = {"spacing_mm": (1.7, 2.3, 3.1), "origin_mm": (-10.03, 4.02, 7.01)}
    spacing, signs, origin = 2.0, np.array([1, -1, 1]), np.array([-9.5, 28.3, 6.4])  # y runs the other way
    volume = image_of(np.zeros((13, 11, 12), np.int16), (spacing,) * 3, tuple(origin), tuple(signs))
    starts_zyx = np.array([[2, 3, 1], [0, 0, 0], [-3, 4, 2], [9, 8, 10], [40, 0, 0]])
    counts = label_counts(image_of(truth, **native), image_of(lungs, **native), volume, starts_zyx, 5)
    for start, row in zip(starts_zyx, counts, strict=True):
        places_zyx = [start + offset for offset in np.ndindex(5, 5, 5)]
        inside = [place for place in places_zyx if (place >= 0).all() and (place < [13, 11, 12]).all()]
        points_mm = [origin + signs * spacing * place[::-1] for place in inside]
        assert row.tolist() == labels_of_points(points_mm, truth, lungs, **native)
    assert counts[0].min() > 0
    assert counts[-1].sum() == 0


def test_patches_that_tile_a_volume_count_every_lung_voxel_once():
    rng = np.random.default_rng(1)
    truth, lungs = rng.integers(0, 5, (8, 8, 8)).astype(np.uint8), rng.integers(0, 2, (8, 8, 8)).astype(np.uint8)
    starts_zyx = 4 * np.array(list(np.ndindex(2, 2, 2)))
    counts = label_counts(image_of(truth), image_of(lungs), image_of(truth), starts_zyx, 4)
    assert counts.sum(axis=0).tolist() == np.bincount(truth[lungs > 0], minlength=5).tolist()


def disease_by_hand():
    voxels = {"centrilobular": [10, 0, 4, 1], "paraseptal": [0, 0, 2, 0]}
    voxels |= {"panlobular": [5, 0, 0, 0], "ground_glass": [20, 0, 0, 0]}
    diseased = {name: np.array(values) for name, values in voxels.items()}
    return PatchDisease(1000, np.array([True, True, False, True]), np.array([100, 50, 60, 49]), diseased)


def test_fractions_by_hand():
    disease = disease_by_hand()
    assert disease.measured.tolist() == [True, True, False, False]  # invalid; 49 of 1,000 voxels is too little lung
    nan = np.nan
    np.testing.assert_array_equal(disease.fraction("emphysema"), [0.15, 0, nan, nan])
    np.testing.assert_array_equal(disease.fraction("centrilobular"), [0.1, 0, nan, nan])
    np.testing.assert_array_equal(disease.fraction("ground_glass"), [0.2, 0, nan, nan])


@pytest.fixture
def stages(tmp_path):
    """Return the folders of a subject whose scan is 8 voxels of 2 mm wide: the left half lung, part of it diseased."""
    folders = [tmp_path / name for name in ("phantom", "ingest", "patches", "disease")]
    for folder in folders:
        folder.mkdir()
    lungs, truth = np.zeros((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
    lungs[..., 4:] = 2
    truth[:2, :, 4:], truth[:, 0, :4] = 3, 1  # the second lies outside the lung
    sitk.WriteImage(image_of(lungs, (2.0,) * 3), str(folders[0] / "lungs.nii.gz"))
    sitk.WriteImage(image_of(truth, (2.0,) * 3), str(folders[0] / "truth.nii.gz"))
    sitk.WriteImage(image_of(np.zeros((15, 15, 15), np.int16), origin_mm=(0.2,) * 3), str(folders[1] / "ct.nii.gz"))
    starts_zyx = np.array([[0, 4, 8], [0, 4, 0], [20, 0, 0]])
    write_patches(
        folders[2] / "patches.zarr", np.zeros((3, 4, 4, 4), np.int16), starts_zyx, np.array([True, True, False])
    )
    return folders


def test_the_stage_writes_what_the_reader_returns(stages):
    metrics = measure_disease(*stages)
    disease = read_disease(stages[-1])
    assert metrics == {"landmarks": 3, "measured_landmarks": 1}
    assert disease.patch_voxels == 64
    assert disease.lung_voxels.tolist() == [64, 0, 0]
    # Slices 0.2, 1.2, 2.2 and 3.2 mm of the volume show slices 0, 1, 1 and 2 of the scan, two of which are diseased.
    assert disease.diseased_voxels["panlobular"].tolist() == [48, 0, 0]
    assert all(not disease.diseased_voxels[name].any() for name in DISEASES if name != "panlobular")
    assert disease.fraction("emphysema")[0] == 0.75


def test_excluded_subjects_have_no_disease(stages, tmp_path):
    measure_disease(*stages)
    write_record(stages[-1], Record("s1", "disease", "ok"))
    (tmp_path / "other").mkdir()
    write_record(tmp_path / "other", Record("s2", "disease", "excluded", "ingest", "no such file"))
    assert list(read_cohort([stages[-1], tmp_path / "other"])) == ["s1"]
