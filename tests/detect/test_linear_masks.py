"""Linear detectors slid over the lungs: against a plain loop over voxels, each by others' boxes."""

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from box_cohort import box_cohort
from sklearn.metrics import roc_auc_score
from toy_bank import toy_grid

from drasclr_core.detect import masks_linear as detection_masks_linear
from drasclr_core.detect.masks_linear import judge_linear_masks, lung_windows
from drasclr_core.detect.windows import BoxGrid, values_of_run
from drasclr_core.model.dense import window_voxels

EDGE, STRIDE = 24, 5


def image_of(array):
    image = sitk.GetImageFromArray(array)
    image.SetOrigin((-12.0, 3.0, 7.0))
    return image


@pytest.fixture
def subjects(tmp_path):
    """Return two subjects, darker where they are diseased, with the paths of the truth."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(2):
        truth = np.zeros((EDGE,) * 3, np.uint8)
        truth[:, : EDGE // 2] = 1 + number  # the first is centrilobular throughout, the second paraseptal
        truth[rng.random(truth.shape) < 0.2] = 0
        lungs = np.zeros(truth.shape, np.uint8)
        lungs[2:20, 3:22, 4:23] = 1
        hu = (rng.normal(-850, 60, truth.shape) - 90 * (truth > 0)).astype(np.int16)
        path = tmp_path / f"truth-{number}.nii.gz"
        sitk.WriteImage(image_of(truth), str(path))
        images = {"ct": image_of(hu), "lungs": image_of(lungs), "transform": sitk.AffineTransform(3)}
        found.append((SimpleNamespace(participant_id=f"p{number}", **images), path))
    return found


def darkness(patches, windows):
    """Return one feature of each window, 0 to 1."""
    assert len(windows.voxels) == 1
    z, y, x = windows.voxels[0]
    seen = patches.hu[:, z : z + 32, y : y + 32, x : x + 32]
    return ((240 - seen.mean(axis=(1, 2, 3), dtype=np.float64)) / 1264)[:, None, None].astype(np.float32)


def test_figures_are_those_of_every_voxels_window(subjects, monkeypatch):
    learnt_from = []

    def fit(features, labels, persons, **settings):
        learnt_from.append(set(persons))
        assert settings == {"readout": "penalised", "seed": 0}
        probability = SimpleNamespace(predict_proba=lambda seen: np.hstack([1 - seen, seen]))
        return probability, 0.0, True

    monkeypatch.setattr(detection_masks_linear, "fit_detector", fit)
    patches = box_cohort(subjects=10)
    found = judge_linear_masks(
        darkness, patches, subjects, {"p0": 2, "p1": 2}, toy_grid(), stride=STRIDE, readout="penalised", seed=0
    )
    assert learnt_from == [set(patches.persons[patches.folds != 2])]  # once a fold; nobody has paraseptal boxes
    assert (found["n"], found["pooled"]["paraseptal"]) == (2, None)
    scores, truths = [], []
    for subject, path in subjects:
        hu, lungs = (sitk.GetArrayFromImage(image) for image in (subject.ct, subject.lungs))
        truth, around = sitk.GetArrayFromImage(sitk.ReadImage(str(path))), np.pad(hu, 40, constant_values=-1024)
        for voxel in np.argwhere(lungs):
            z, y, x = voxel // STRIDE * STRIDE + (STRIDE - 1) // 2 - 15 + 40  # the window at the middle of its cell
            mean = around[z : z + 32, y : y + 32, x : x + 32].mean()
            scores.append(np.floor(np.float32((240 - mean) / 1264) * 255 + 0.5))
            truths.append(truth[tuple(voxel)] == 1)
    pooled = found["pooled"]["centrilobular"]
    assert pooled["auroc"] == pytest.approx(roc_auc_score(truths, scores), abs=1e-3)
    assert (pooled["n_auroc"], pooled["n_dice"]) == (1, 2)  # the second subject has no such disease


def test_windows_of_the_lungs_have_their_voxels_and_their_places(subjects):
    subject, grid = subjects[0][0], toy_grid()
    parts = list(lung_windows(subject, grid, window_voxels(sitk.GetArrayFromImage(subject.lungs), 8)))
    codes = np.concatenate([values_of_run(None, "no_image", {})(part, BoxGrid.centre(part))[:, 0] for part in parts])
    low = values_of_run(None, "laa950", {})(parts[0], BoxGrid.centre(parts[0]))
    points_mm = np.array([[-12.0 + x + 0.5, 3.0 + y + 0.5, 7.0 + z + 0.5] for z, y, x in ([3, 3, 3], [19, 19, 19])])
    np.testing.assert_allclose(codes[[0, -1]], grid.code_of(points_mm), atol=1e-6)
    hu, lungs = (sitk.GetArrayFromImage(image)[:20, :20, :20] for image in (subject.ct, subject.lungs))
    assert low[0, 0, 0] == pytest.approx((hu[lungs > 0] < -950).mean(), abs=1e-6)  # the window spans -12 to 19
