"""Reading, resampling, segmentation and densitometry on real chest CTs, against what their publishers state."""

import numpy as np
import pytest
import SimpleITK as sitk
from real_cts import FOLDER

from drasclr_core.scan.densities import ct_metrics
from drasclr_core.scan.images import read_ct, resample_isotropic
from drasclr_core.scan.lungs import LEFT, RIGHT, lung_metrics, segment_threshold

SCANS = {  # file -> size, spacing in mm, lung volume in litres as its source states
    "LIDC-IDRI-0001_ct.nii.gz": ((512, 512, 133), (0.703125, 0.703125, 2.5), 3.7),
    "Lung_Dx-A0002_dicom": ((512, 512, 30), (0.646484375, 0.646484375, 8.0), 2.7),
    "ct-64_ct.nrrd": ((64, 64, 79), (4.171872, 4.171872, 3.987342), 4.6),
}

pytestmark = [
    pytest.mark.real_ct,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real CTs in {FOLDER}: set DRASCLR_TEST_CT"),
]


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.parametrize("name", SCANS)
def test_a_real_scan_passes_from_file_to_lungs(name):
    size, spacing_mm, lung_l = SCANS[name]
    ct = read_ct(FOLDER / name)
    assert ct.GetSize() == size
    assert ct.GetSpacing() == pytest.approx(spacing_mm, abs=1e-4)
    assert sitk.GetArrayViewFromImage(ct).min() >= -1024

    native = ct_metrics(ct, segment_threshold(ct))
    assert native["lung_volume_l"] == pytest.approx(lung_l, rel=0.1)
    assert -920 < native["mean_lung_hu"] < -700

    iso = resample_isotropic(ct, 2.0)
    lungs = segment_threshold(iso)
    metrics = lung_metrics(lungs)
    assert metrics["lung_l"] == pytest.approx(lung_l, rel=0.1)
    assert 0.6 < metrics["right_lung_l"] / metrics["left_lung_l"] < 1.5
    assert metrics["touches_border_fraction"] < 0.05
    labels = sitk.GetArrayFromImage(lungs)
    assert np.argwhere(labels == RIGHT)[:, 2].mean() < np.argwhere(labels == LEFT)[:, 2].mean()


@pytest.fixture(scope="module")
def copd():
    ct = read_ct(FOLDER / "ct-64_ct.nrrd")
    lungs = segment_threshold(ct)
    return ct, lungs, sitk.GetArrayFromImage(lungs)


def test_threshold_lungs_match_the_given_mask(copd):
    _, _, found = copd
    given = sitk.GetArrayFromImage(sitk.ReadImage(str(FOLDER / "lm-64_labelmap.nrrd")))
    assert dice(found > 0, given > 0) > 0.97


def test_each_side_matches_the_full_resolution_label_map(copd):
    ct, _, found = copd
    label_map = next(FOLDER.glob("10002K_*leftLungRightLung.nrrd"))
    given = sitk.Resample(sitk.ReadImage(str(label_map)), ct, sitk.Transform(), sitk.sitkNearestNeighbor)
    given = sitk.GetArrayFromImage(given)  # 2 right, 3 left
    assert dice(found == RIGHT, given == 2) > 0.97
    assert dice(found == LEFT, given == 3) > 0.97


def test_emphysema_is_measured_as_stated(copd):
    ct, lungs, _ = copd
    assert ct_metrics(ct, lungs)["laa950_pct"] == pytest.approx(20, abs=2)
