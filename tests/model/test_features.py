"""Which features are read: pooled activations against a plain copy of the encoder that keeps them all."""

from typing import get_args

import numpy as np
import pytest
import torch
from test_encoder import CONDITIONINGS, seasoned_encoder
from toy_bank import SETTINGS as TOY
from toy_bank import toy_bank

from drasclr_core.config.settings import EXTRA_DIM, Features
from drasclr_core.model.encoder import FEATURES, LAYERS, MIDDLE_LAYERS, POOLED_LAYERS, Encoder
from drasclr_core.train.contrast import Contrast
from drasclr_core.train.loop import initial_encoder
from drasclr_core.train.parallel import Processes

MIDDLE = {16: slice(5, 11), 8: slice(2, 6), 4: slice(1, 3)}  # voxels 10 to 21, 8 to 23 and 8 to 23 of 32


def by_hand(encoder, x, location, layers=range(2, 13), middle=None):
    """Return h, (B, D), and mean and s.d. of what follows each of the convolutions, channel by channel, (B, 944)."""
    seen = []
    hooks = [norm.register_forward_hook(lambda module, given, out: seen.append(out.clone())) for norm in encoder.norms]
    encoder.features = "last"
    with torch.no_grad():
        h = encoder(x, location)
    for hook in hooks:
        hook.remove()
    parts = []
    for layer in layers:
        after = seen[layer - 1].double().numpy()
        elu = np.where(after > 0, after, np.expm1(np.minimum(after, 0)))
        channels = elu.shape[1]
        if middle:
            inner = middle[elu.shape[-1]]
            elu = elu[:, :, inner, inner, inner]
        for statistic in (np.mean, np.std):
            parts.append([[statistic(elu[b, c]) for c in range(channels)] for b in range(len(elu))])
    return h, torch.tensor(np.concatenate(parts, axis=1), dtype=torch.float32)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_pooled_features_are_h_and_the_statistics_of_all_layers_between(conditioning):
    encoder, x, p = seasoned_encoder(conditioning), torch.randn(3, 1, 32, 32, 32), torch.tensor([0.3, -0.9, 1.4])
    h, pooled = by_hand(encoder, x, p)
    assert h.shape == (3, 16)
    assert pooled.abs().min(dim=1).values.min() < 0.5 < pooled.max()
    encoder.features = "pooled"
    with torch.no_grad():
        found = encoder(x, p)
        folded = encoder.at(p)(x)
    assert torch.equal(found[:, :16], h)
    torch.testing.assert_close(found[:, 16:], pooled, rtol=0, atol=1e-5)
    torch.testing.assert_close(folded, found, rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_middle_features_are_h_and_the_statistics_of_the_middle_of_what_has_one(conditioning):
    encoder, x, p = seasoned_encoder(conditioning), torch.randn(3, 1, 32, 32, 32), torch.tensor([0.3, -0.9, 1.4])
    expected = torch.cat(by_hand(encoder, x, p, MIDDLE_LAYERS, MIDDLE), dim=1)
    encoder.features = "middle"
    with torch.no_grad():
        torch.testing.assert_close(encoder(x, p), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(encoder.at(p)(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("patches", [1, 2])
def test_at_several_locations_each_has_its_own(conditioning, patches):
    encoder, p = seasoned_encoder(conditioning), torch.randn(3, 3)
    x = torch.randn(patches, 3, 32, 32, 32)
    each = [torch.cat(by_hand(encoder, x[:, [place]], code), dim=1) for place, code in enumerate(p)]
    encoder.features = "pooled"
    torch.testing.assert_close(encoder.at(p)(x), torch.cat(each, dim=1), rtol=0, atol=1e-5)
    with torch.no_grad():
        together = encoder(x.transpose(0, 1).reshape(-1, 1, 32, 32, 32), p)
    torch.testing.assert_close(together, torch.cat(each), rtol=0, atol=1e-5)


def test_patches_that_are_split_early_keep_their_order():
    encoder, x = seasoned_encoder("location"), torch.randn(10, 1, 32, 32, 32)
    expected = torch.cat(by_hand(encoder, x, torch.ones(3)), dim=1)
    encoder.features = "pooled"
    torch.testing.assert_close(encoder.at(torch.ones(3))(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_length_is_known_before(conditioning):
    encoder = Encoder(feature_dim=16, num_experts=1, conditioning=conditioning).eval()
    assert (encoder.output_dim, encoder.feature_dim) == (16, 16)
    for encoder.features in get_args(Features):
        assert (encoder.output_dim, encoder.feature_dim) == (16 + EXTRA_DIM[encoder.features], 16)
        with torch.no_grad():
            assert encoder(torch.zeros(1, 1, 32, 32, 32), torch.zeros(3)).shape == (1, encoder.output_dim)
    assert [LAYERS[layer - 1][1] for layer in POOLED_LAYERS] == [8, 16, 16, 16, 32, 32, 32, 64, 64, 64, 128]
    assert tuple(FEATURES) == get_args(Features)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_last_is_the_plain_chain_of_layers_to_the_bit(conditioning, training):
    encoder, p = seasoned_encoder(conditioning).train(training), torch.zeros(1, 3)
    x = expected = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        kernels = encoder.kernels(p)
        for conv, norm, mixed in zip(encoder.convs, encoder.norms, kernels, strict=True):
            expected = torch.nn.functional.elu(norm(conv.convolve(expected, mixed)))
        assert torch.equal(encoder.convolve(x, kernels), expected.flatten(1))


def test_last_is_the_first_columns_of_all_others_to_the_bit():
    encoder, x = seasoned_encoder("location"), torch.randn(5, 2, 32, 32, 32)
    found = {}
    for encoder.features in get_args(Features):
        found[encoder.features] = encoder.at(torch.ones(2, 3))(x).unflatten(1, (2, -1))
    for others in found.values():
        assert torch.equal(others[..., :16], found["last"])


def test_what_is_read_is_no_part_of_the_weights():
    encoder = Encoder(num_experts=1)
    before = list(encoder.state_dict())
    encoder.features = "pooled"
    assert list(encoder.state_dict()) == before


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_constant_patches_are_finite(training):
    encoder = seasoned_encoder("location").train(training)
    encoder.features = "pooled"
    with torch.no_grad():
        for conv in encoder.convs[:5]:
            conv.weight.zero_()  # so that what is pooled has no variance at all
    x = torch.full((2, 1, 32, 32, 32), -1.0, requires_grad=True)
    found = encoder(x, torch.zeros(3))
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() for name, p in encoder.named_parameters() if not name.startswith("head."))
    assert torch.isfinite(x.grad).all()


def test_gradients_are_those_of_finite_differences():
    encoder, x, p = seasoned_encoder("location").double(), torch.randn(1, 1, 32, 32, 32).double(), torch.zeros(3)
    encoder.features = "pooled"
    weight, step = encoder.convs[3].weight, 1e-6
    weights = torch.randn(encoder.output_dim).double()

    def value():
        return (encoder(x, p.double()) * weights).sum()

    value().backward()
    with torch.no_grad():
        weight[0, 1, 2, 1, 1, 1] += step
        above = value()
        weight[0, 1, 2, 1, 1, 1] -= 2 * step
        below = value()
    assert weight.grad[0, 1, 2, 1, 1, 1] == pytest.approx(float(above - below) / (2 * step), rel=1e-5)


def test_pretraining_compares_h_whatever_is_read():
    encoder, bank = initial_encoder(TOY), toy_bank()
    encoder.features = "pooled"
    contrast = Contrast(encoder, bank.grid.codes, bank.grid.neighbours, TOY, Processes(0, 1, TOY.groups), "cpu")
    assert contrast.encoder.features == contrast.key_encoder.features == "last"
