from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from toy_bank import toy_grid

from drasclr_core.atlas.patches import cut_patches, patch_starts
from drasclr_core.base.errors import InputError
from drasclr_core.model.dense import DenseValues, block_codes, dense_values, window_voxels
from drasclr_core.model.encoder import Encoder, normalise_hu
from drasclr_core.model.folder import Model

SHAPE = (20, 26, 23)
AXES = {"centre": (1.0, 0, 0, 0, 0, -1, 0, 1, 0), "released": (1.0, 0, 0, 0, -1, 0, 0, 0, 1)}


@pytest.fixture(scope="module")
def encoder():
    """Return a small encoder that depends strongly on the location."""
    torch.manual_seed(0)
    encoder = Encoder(feature_dim=8, num_experts=3)
    for conv, norm in zip(encoder.convs, encoder.norms, strict=True):
        torch.nn.init.normal_(conv.routing.weight, 0, 2)
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.05, 0.3)
    encoder.norms[-1].weight.data.fill_(0.03)  # features below 1, where absolute tolerances mean something
    return encoder.eval()


def toy_model(encoder, convention="centre"):
    axes = (1, -1, 1) if convention == "released" else (1, 1, 1)
    return Model(encoder, replace(toy_grid(), convention=convention, direction=axes), {})


def toy_subject(convention="centre", voxels=0, seed=0):
    """Return CT, lung mask and a transform that shears, scales unevenly and mirrors; lung at corners and at random."""
    rng = np.random.default_rng(seed)
    ct = sitk.GetImageFromArray(rng.integers(-1100, 400, SHAPE).astype(np.int16))
    ct.SetOrigin((5.0, -40.0, 12.5))
    ct.SetDirection(AXES[convention])
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, 0, 0] = mask[-1, -1, -1] = mask[7, 3, 11] = 1
    mask[tuple(rng.integers(0, size, voxels) for size in SHAPE)] = 2
    lungs = sitk.GetImageFromArray(mask)
    lungs.CopyInformation(ct)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((-0.9, 0.1, 0.05, 0.2, 1.1, 0, -0.1, 0.15, 1.2))
    transform.SetCenter((3, -20, 30))
    transform.SetTranslation((10, -7, 4))
    return ct, lungs, transform


def atlas_point(voxel_zyx, shift, ct, transform):
    """Return where in the atlas the continuous index `voxel_zyx + shift` of a subject lies."""
    index = [float(i) + shift for i in voxel_zyx[::-1]]
    return transform.GetInverse().TransformPoint(ct.TransformContinuousIndexToPhysicalPoint(index))


def slowly(encoder, grid, voxels, ct, transform):
    """Return the features of the windows, each cut as the patch of a landmark of its own, and read with its code."""
    shift = 0.5 if grid.convention == "centre" else -15
    points = np.array([atlas_point(voxel, shift, ct, transform) for voxel in voxels])
    starts = patch_starts(replace(grid, points_mm=points), transform, ct)
    assert (starts[:, ::-1] == voxels - 15).all()
    patches, _ = cut_patches(sitk.GetArrayFromImage(ct), starts[:, ::-1], 32)
    codes = torch.from_numpy(grid.code_of(points)).float()
    with torch.no_grad():
        rows = [
            encoder(normalise_hu(torch.from_numpy(patch))[None, None], code)[0]
            for patch, code in zip(patches, codes, strict=True)
        ]
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("convention", ["centre", "released"])
@pytest.mark.parametrize("stride", [1, 3])
def test_block_1_is_a_landmark_at_every_window(encoder, convention, stride):
    model, (ct, lungs, transform) = toy_model(encoder, convention), toy_subject(convention, voxels=15)
    found = dense_values(model, ct, lungs, transform, stride=stride, block=1)
    assert found.voxels_zyx.tolist() == window_voxels(sitk.GetArrayFromImage(lungs), stride).tolist()
    expected = slowly(encoder, model.grid, found.voxels_zyx, ct, transform)
    assert np.ptp(expected, axis=0).min() > 0.005
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-5)


def test_the_windows_of_a_block_share_the_mean_of_their_codes(encoder):
    model, (ct, lungs, transform) = toy_model(encoder), toy_subject()
    mask = np.zeros(SHAPE, np.uint8)
    mask[5, 7, [8, 9, 10, 15]] = mask[5, 8, 8] = 1  # in blocks of 8 voxels: four in the one, one in the next
    lungs = sitk.GetImageFromArray(mask)
    lungs.CopyInformation(ct)
    found = dense_values(model, ct, lungs, transform, stride=1, block=8)
    assert found.voxels_zyx.tolist() == [[5, 7, 8], [5, 7, 9], [5, 7, 10], [5, 7, 15], [5, 8, 8]]
    starts = found.voxels_zyx - 15
    patches, _ = cut_patches(sitk.GetArrayFromImage(ct), starts, 32)
    points = np.array([atlas_point(voxel, 0.5, ct, transform) for voxel in found.voxels_zyx])
    mean = torch.from_numpy(model.grid.code_of(points[:4]).mean(axis=0)).float()
    alone = torch.from_numpy(model.grid.code_of(points[4:])[0]).float()
    x = normalise_hu(torch.from_numpy(patches))[:, None]
    with torch.no_grad():
        expected = torch.cat([encoder(x[:4], mean), encoder(x[4:], alone)])
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", [1, 5, 16])
def test_values_do_not_depend_on_the_batch(encoder, block):
    model, subject = toy_model(encoder), toy_subject(voxels=40)
    runs = [dense_values(model, *subject, stride=2, block=block, batch=batch).values for batch in (1, 3, 64)]
    assert len(runs[0]) > 30
    np.testing.assert_allclose(runs[0], runs[2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(runs[1], runs[2], rtol=0, atol=1e-6)


def test_a_head_turns_features_into_values(encoder):
    model, subject = toy_model(encoder), toy_subject()
    features = dense_values(model, *subject, stride=1, block=4).values
    values = dense_values(model, *subject, stride=1, block=4, head=lambda x: torch.sigmoid(x[:, :2] - 1)).values
    np.testing.assert_allclose(values, 1 / (1 + np.exp(1 - features[:, :2])), rtol=1e-5)
    assert values.dtype == np.float32


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        (1, [[0, 0, 0], [0, 0, 4], [0, 0, 9]]),
        (3, [[1, 1, 1], [1, 1, 4], [1, 1, 10]]),
        (4, [[1, 1, 1], [1, 1, 5], [1, 1, 9]]),
        (8, [[3, 3, 3], [3, 3, 11]]),
    ],
)
def test_window_voxels_by_hand(stride, expected):
    lungs = np.zeros((1, 2, 10))
    lungs[0, 0, [0, 4, 9]] = 1
    assert window_voxels(lungs, stride).tolist() == expected


def test_every_lung_voxel_is_in_the_cell_of_a_window():
    lungs = np.random.default_rng(0).random((9, 14, 11)) < 0.02
    cells = {tuple(voxel // 4) for voxel in window_voxels(lungs, 4)}
    assert cells == {tuple(voxel // 4) for voxel in np.argwhere(lungs)}


def test_block_codes_by_hand():
    voxels = np.array([[0, 0, 0], [0, 0, 5], [0, 3, 4], [7, 0, 0]])
    owner, codes = block_codes(voxels, np.arange(12.0).reshape(4, 3), 4)
    assert owner.tolist() == [0, 1, 1, 2]
    assert codes.tolist() == [[0, 1, 2], [4.5, 5.5, 6.5], [9, 10, 11]]


def test_spreading_by_hand():
    lungs = np.zeros((1, 2, 5))
    lungs[0, 0, :] = lungs[0, 1, 4] = 1
    found = DenseValues(np.array([[0, 0, 0], [0, 0, 4]]), np.array([[1, 10], [2, 20]], np.float32), stride=2)
    volume = found.spread(lungs)
    nan = np.nan
    np.testing.assert_array_equal(volume[0], [[[1, 1, nan, nan, 2], [nan, nan, nan, nan, 2]]])
    np.testing.assert_array_equal(volume[1], 10 * volume[0])
    assert volume.dtype == np.float32


def test_an_empty_mask_is_refused(encoder):
    ct, lungs, transform = toy_subject()
    with pytest.raises(InputError, match="empty"):
        dense_values(toy_model(encoder), ct, lungs * 0, transform, stride=2, block=2)


@pytest.mark.parametrize("numbers", [{"stride": 0, "block": 1}, {"stride": 1, "block": 0}])
def test_numbers_below_one_are_refused(encoder, numbers):
    with pytest.raises(InputError, match="(stride|block) is 0"):
        dense_values(toy_model(encoder), *toy_subject(), **numbers)


def test_another_grid_is_refused(encoder):
    ct, lungs, transform = toy_subject()
    with pytest.raises(InputError, match="lung mask"):
        dense_values(toy_model(encoder), ct, lungs[1:, :, :], transform, stride=2, block=2)
    ct.SetSpacing((2, 2, 2))
    with pytest.raises(InputError, match="Spacing of the volume"):
        dense_values(toy_model(encoder), ct, lungs, transform, stride=2, block=2)
    lungs.SetSpacing((2, 2, 2))
    with pytest.raises(InputError, match="spacing"):
        dense_values(toy_model(encoder), ct, lungs, transform, stride=2, block=2)
