"""Histograms of patches: by hand, against NumPy, and the coarser scales against a plain loop over cubes."""

from itertools import product

import numpy as np
import pytest

from drasclr_core.evaluate.histograms import HISTOGRAMS, patch_histograms


@pytest.mark.parametrize("bins", [2, 7, 30, 1264])
def test_histograms_agree_with_numpy(bins):
    patches = np.random.default_rng(0).integers(-1200, 500, size=(3, 5, 5, 5)).astype(np.int16)
    patches[0, 0, 0, :3] = [-1024, 240, 239]
    for row, patch in zip(patch_histograms(patches, bins), patches, strict=True):
        expected, _ = np.histogram(np.clip(patch, -1024, 240), bins=bins, range=(-1024, 240))
        np.testing.assert_allclose(row, expected / patch.size, rtol=1e-6)


def test_a_patch_of_eight_voxels_by_hand():
    # Two bins: air below -392 HU, the rest above. Six voxels of air, one of bone beyond the range: it counts as 240 HU.
    patch = np.array([-1000, -1000, -1000, -1000, -1000, -1000, 2000, -392], np.int16).reshape(1, 2, 2, 2)
    # The mean of the clipped voxels is -769 HU: air. Of the unclipped it would be -549, and with 4000 HU not air.
    assert patch_histograms(patch, bins=2, scales=2).tolist() == [[0.75, 0.25, 1.0, 0.0]]
    assert patch_histograms(np.where(patch == 2000, 4100, patch), bins=2, scales=2).tolist() == [[0.75, 0.25, 1.0, 0.0]]


def test_three_scales_agree_with_a_plain_loop_over_cubes():
    patches = np.random.default_rng(1).integers(-1400, 700, size=(2, 8, 8, 8)).astype(np.int16)
    found = HISTOGRAMS["histogram3"](patches)
    assert found.shape == (2, 90)
    for row, patch in zip(found, patches, strict=True):
        for scale, width in enumerate((1, 2, 4)):
            shares = np.zeros(30)
            corners = list(product(range(0, 8, width), repeat=3))
            for z, y, x in corners:
                cube = [
                    min(max(int(patch[z + i, y + j, x + k]), -1024), 240) for i, j, k in product(range(width), repeat=3)
                ]
                share = (sum(cube) / len(cube) + 1024) / 1264
                shares[min(int(share * 30 + 1e-9), 29)] += 1 / len(corners)
            np.testing.assert_allclose(row[30 * scale : 30 * scale + 30], np.sqrt(shares), atol=1e-6)


def test_coarser_scales_see_what_a_histogram_cannot():
    checks, halves = np.full((2, 8, 8, 8), -900, np.int16)
    checks[(np.indices(checks.shape).sum(axis=0) % 2) == 1] = -500  # fine texture
    halves[4:] = -500
    (fine, coarse) = HISTOGRAMS["histogram3"](np.stack([checks, halves]))
    np.testing.assert_array_equal(fine[:30], coarse[:30])
    assert np.abs(fine[30:] - coarse[30:]).max() == 1
