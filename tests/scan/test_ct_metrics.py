import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.base.errors import QualityError
from drasclr_core.scan.densities import ct_metrics


def image_of(array, spacing_mm=(1.0, 1.0, 1.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm)
    return image


def test_metrics_by_hand():
    hu = np.array([-1000, -960, -950, -940, -930, -910, -900, -850, -500, -499, 50, -1024], dtype=np.int16)
    inside = np.array([1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 2, 0], dtype=np.uint8)
    metrics = ct_metrics(
        image_of(hu.reshape(1, 3, 4), (0.5, 2.0, 10.0)), image_of(inside.reshape(1, 3, 4), (0.5, 2, 10))
    )
    assert metrics == pytest.approx(
        {
            "laa950_pct": 100 * 2 / 9,  # -1000, -960; not -950 itself
            "laa910_pct": 100 * 5 / 9,
            "perc15_hu": -960.0,  # the second of nine
            "mean_lung_hu": (-1000 - 960 - 950 - 940 - 930 - 910 - 900 - 850 - 500) / 9,
            "lung_volume_l": 11 * 10e-6,
        }
    )


def test_a_count_of_exactly_15_percent_is_enough_for_the_percentile():
    hu = np.arange(-1000, -800, 10, dtype=np.int16).reshape(1, 4, 5)  # the third of twenty
    assert ct_metrics(image_of(hu), image_of(np.ones((1, 4, 5), np.uint8)))["perc15_hu"] == -980


def test_metrics_agree_with_plain_numpy():
    rng = np.random.default_rng(3)
    hu = np.clip(rng.normal(-850, 120, (20, 30, 25)), -1024, 300).round().astype(np.int16)
    inside = rng.integers(0, 3, hu.shape).astype(np.uint8)
    metrics = ct_metrics(image_of(hu), image_of(inside))
    parenchyma = hu[(inside > 0) & (hu <= -500)].astype(float)
    assert metrics["laa950_pct"] == pytest.approx(100 * (parenchyma < -950).mean())
    assert metrics["laa910_pct"] == pytest.approx(100 * (parenchyma < -910).mean())
    assert metrics["perc15_hu"] == np.percentile(parenchyma, 15, method="inverted_cdf")
    assert metrics["mean_lung_hu"] == pytest.approx(parenchyma.mean())


def test_a_mask_of_another_grid_is_brought_to_the_scan():
    hu = np.full((8, 8, 8), -800, dtype=np.int16)
    hu[:, :, 4:] = -960
    half = np.zeros((4, 4, 4), dtype=np.uint8)
    half[:, :, 2:] = 1
    lungs = image_of(half, (2.0, 2.0, 2.0))
    lungs.SetOrigin((0.5, 0.5, 0.5))
    metrics = ct_metrics(image_of(hu), lungs)
    assert metrics["laa950_pct"] == 100
    assert metrics["lung_volume_l"] == pytest.approx(8 * 8 * 4e-6)


def test_a_mask_without_parenchyma_is_refused():
    hu = np.zeros((4, 4, 4), dtype=np.int16)
    with pytest.raises(QualityError, match="no parenchyma"):
        ct_metrics(image_of(hu), image_of(np.ones((4, 4, 4), dtype=np.uint8)))
