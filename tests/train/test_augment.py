from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.transforms import AdjustContrast, Affine, RandAdjustContrast, RandAffine, RandGaussianNoise

from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.augment import ViewParameters, apply_views, compose_affine, draw_views

RNG = np.random.default_rng(0)
HU = RNG.integers(-1100, 400, (4, 32, 32, 32)).astype(np.int16)
IDENTITY = np.tile(np.eye(3, 4), (4, 1, 1))
NONE, ONE = np.zeros(4), np.ones(4)
PAPER = PretrainSettings()


def scaled(hu):
    return np.clip(hu, -1024, 240).astype(np.float64) + 1024


def apply(views, noise=None, hu=HU):
    noise = torch.zeros(0, 32, 32, 32, dtype=torch.float64) if noise is None else noise
    return apply_views(torch.tensor(hu), views, noise)[:, 0].numpy()


def test_the_identity_view_is_the_scaled_patch():
    ours = apply(ViewParameters(IDENTITY, NONE, ONE))
    np.testing.assert_allclose(ours, scaled(HU) / 632 - 1, atol=1e-12)


def test_affine_equals_monai_given_the_same_parameters():
    rotation, translation = RNG.uniform(-0.17, 0.17, (4, 3)), RNG.uniform(-12, 12, (4, 3))
    scale = RNG.uniform(0.9, 1.1, (4, 3))
    ours = apply(ViewParameters(compose_affine(rotation, translation, scale), NONE, ONE))
    for i in range(4):
        monai = Affine(
            rotate_params=rotation[i].tolist(),
            translate_params=translation[i].tolist(),
            scale_params=scale[i].tolist(),
            padding_mode="border",
            mode="bilinear",
            image_only=True,
            dtype=np.float64,
        )
        theirs = np.asarray(monai(torch.tensor(scaled(HU[i]))[None]))[0]
        np.testing.assert_allclose(ours[i], theirs / 632 - 1, atol=2e-5)  # MONAI builds its grid in float32


def test_noise_then_contrast_equal_monai_given_the_same_parameters():
    noise = RNG.normal(size=(2, 32, 32, 32))
    sd, gamma = np.array([0, 30.0, 0, 12.0]), np.array([1, 0.7, 3.1, 4.4])
    ours = apply(ViewParameters(IDENTITY, sd, gamma), torch.tensor(noise))
    added = np.zeros(HU.shape)
    added[[1, 3]] = noise
    for i in range(4):
        noisy = torch.tensor(scaled(HU[i]) + sd[i] * added[i])[None]
        theirs = np.asarray(AdjustContrast(gamma[i])(noisy))[0] if gamma[i] != 1 else noisy[0].numpy()
        np.testing.assert_allclose(ours[i], theirs / 632 - 1, atol=1e-5)


def test_a_constant_patch_survives_every_view():
    flat = np.full((4, 32, 32, 32), -1024, np.int16)
    assert np.isfinite(apply(ViewParameters(IDENTITY, NONE, np.full(4, 0.5)), hu=flat)).all()


def same_distribution(ours, theirs):
    from scipy.stats import ks_2samp

    assert ks_2samp(ours, theirs).pvalue > 1e-3


def test_draws_have_the_distributions_of_monais_transforms():
    views = draw_views(3000, PAPER, 1.0, np.random.default_rng(1))
    contrast, noise = RandAdjustContrast(prob=0.25), RandGaussianNoise(prob=0.25, std=50)
    contrast.set_random_state(2)
    noise.set_random_state(3)
    gammas, sds = [], []
    for _ in range(3000):
        contrast.randomize()
        gammas.append(contrast.gamma_value if contrast._do_transform else 1.0)
        noise.randomize(np.empty(200))
        sds.append(noise.noise.std() if noise._do_transform else 0.0)
    same_distribution(views.gamma, gammas)
    same_distribution(views.noise_hu[views.noise_hu > 0], np.array(sds)[np.array(sds) > 0])
    assert np.mean(views.noise_hu > 0) == pytest.approx(np.mean(np.array(sds) > 0), abs=0.04)


def test_affines_have_the_distribution_of_monais():
    views = draw_views(1500, PAPER, 1.0, np.random.default_rng(1))
    monai = RandAffine(
        prob=1,
        rotate_range=(np.pi / 18,) * 3,
        translate_range=(12.0,) * 3,
        scale_range=(0.1,) * 3,
    )
    monai.set_random_state(4)
    theirs = []
    for _ in range(1500):
        monai.randomize()
        monai.rand_affine_grid(spatial_size=(2, 2, 2))
        theirs.append(np.asarray(monai.rand_affine_grid.get_transformation_matrix())[:3])
    for row, column in np.ndindex(3, 4):
        same_distribution(views.affine[:, row, column], np.array(theirs)[:, row, column])


def test_equal_seeds_draw_equal_views():
    a, b = (draw_views(5, PAPER, 1.0, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(a.affine, b.affine)
    assert not np.array_equal(a.affine, draw_views(5, PAPER, 1.0, np.random.default_rng(10)).affine)


def test_ranges_are_settings_and_the_shift_is_in_millimetres():
    changes = {"view_rotation_deg": 0.0, "view_scale": 0.0, "view_shift_mm": 6.0}
    still = replace(PAPER, **changes, view_noise_probability=0.0, view_gamma_probability=0.0)
    views = draw_views(2000, still, 3.0, np.random.default_rng(1))
    shift_vox = views.affine[:, :, 3]
    assert 1.99 < np.abs(shift_vox).max() <= 6 / 3
    np.testing.assert_array_equal(views.affine[:, :, :3], np.broadcast_to(np.eye(3), (2000, 3, 3)))
    assert not views.noise_hu.any()
    assert (views.gamma == 1).all()
    strong = replace(
        still, view_noise_probability=1.0, view_noise_hu=9.0, view_gamma_probability=1.0, view_gamma=(2, 3)
    )
    views = draw_views(2000, strong, 3.0, np.random.default_rng(1))
    assert 8.9 < views.noise_hu.max() <= 9
    assert (views.gamma.min(), views.gamma.max()) == (pytest.approx(2, abs=0.01), pytest.approx(3, abs=0.01))


def test_at_one_millimetre_the_views_of_the_paper_are_those_that_they_were():
    views = draw_views(2, PAPER, 1.0, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    turn, shift, scale = (rng.uniform(-most, most, (2, 3)) for most in (np.pi / 18, 12.0, 0.1))
    np.testing.assert_array_equal(views.affine, compose_affine(turn, shift, 1 + scale))
