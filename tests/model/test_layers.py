import pytest
import torch
import torch.nn.functional as F
from torch import nn

from drasclr_core.model.layers import HyperConv3d, JoinedConv3d, LocationEmbedding, LocCondConv3d, StaticConv3d


def plain_loop(layer, x, locations):
    """Return equation 3 of the paper, one patch after another."""
    out = []
    for patch, p in zip(x, locations, strict=True):
        weights = 1 / (1 + torch.exp(-(layer.routing.weight @ p + layer.routing.bias)))
        kernel = sum(w * expert for w, expert in zip(weights, layer.weight, strict=True))
        out.append(F.conv3d(patch[None], kernel, layer.bias, layer.stride, layer.padding))
    return torch.cat(out)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_any_sharing_of_locations_equals_the_plain_loop(count, stride):
    generator = torch.Generator().manual_seed(0)
    layer = LocCondConv3d(2, 5, stride=stride, num_experts=4).double()
    x = torch.randn(6, 2, 8, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    locations = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    ours = layer(x, locations)
    theirs = plain_loop(layer, x, locations.repeat_interleave(6 // count, dim=0))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    weight = torch.randn_like(ours)
    inputs = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_single_location_may_come_without_its_axis():
    layer = LocCondConv3d(1, 2)
    x, p = torch.randn(3, 1, 4, 4, 4), torch.randn(3)
    assert torch.equal(layer(x, p), layer(x, p[None]))


def test_locations_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(ValueError, match="5 patches .* 2 locations"):
        LocCondConv3d(1, 1)(torch.zeros(5, 1, 4, 4, 4), torch.zeros(2, 3))


def test_mixed_kernels_start_with_the_variance_of_a_plain_convolution():
    torch.manual_seed(0)
    layer, plain = LocCondConv3d(64, 128, num_experts=8), nn.Conv3d(64, 128, 3)
    kernels = layer.kernels(torch.rand(50, 3) * 2 - 1)
    assert kernels.var().item() == pytest.approx(plain.weight.var().item(), rel=0.15)


def test_the_static_layer_ignores_the_location():
    layer = StaticConv3d(1, 2, stride=2)
    x = torch.randn(2, 1, 6, 6, 6)
    expected = F.conv3d(x, layer.conv.weight, layer.conv.bias, 2, 1)
    assert torch.equal(layer(x, torch.zeros(3)), expected)
    assert torch.equal(layer(x, torch.ones(2, 3)), expected)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_the_joined_layer_is_a_linear_layer_of_features_and_location(count):
    torch.manual_seed(0)
    layer = JoinedConv3d(4, 5)
    h, p = torch.randn(6, 4), torch.randn(count, 3)
    expected = layer.joined(torch.cat([h, p.repeat_interleave(6 // count, dim=0)], dim=1))
    ours = layer.convolve(h[:, :, None, None, None], layer.kernels(p))
    torch.testing.assert_close(ours.flatten(1), expected)


def test_the_hypernetwork_writes_its_kernels_as_a_plain_loop_does():
    torch.manual_seed(0)
    layer, z = HyperConv3d(2, 3, embedding_dim=4, rank=5).double(), torch.randn(2, 4, dtype=torch.float64)
    kernels = layer.kernels(z)
    assert kernels.shape == (2, 3, 2, 3, 3, 3)
    weights, biases = layer.inner.weight.view(2, 5, 4), layer.inner.bias.view(2, 5)
    for place, channel in ((0, 0), (1, 1)):
        vector = weights[channel] @ z[place] + biases[channel]
        written = sum(a * row for a, row in zip(vector, layer.outer, strict=True))
        torch.testing.assert_close(kernels[place, :, channel], written.view(3, 3, 3, 3))


def test_written_kernels_start_with_the_variance_of_a_plain_convolution_and_depend_on_the_location():
    torch.manual_seed(0)
    embed, layer, plain = LocationEmbedding(64), HyperConv3d(64, 128), nn.Conv3d(64, 128, 3)
    embedded = embed(torch.rand(8, 3) * 2 - 1)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(8))
    kernels = layer.kernels(embedded)
    assert kernels.var().item() == pytest.approx(plain.weight.var().item(), rel=0.15)
    assert (kernels - kernels.mean(0)).std() > 0.2 * kernels.std()


def test_a_step_of_learning_moves_a_written_kernel_about_as_far_as_a_plain_one():
    torch.manual_seed(0)
    layer, z = HyperConv3d(32, 32), torch.nn.functional.normalize(torch.randn(1, 64))
    before = layer.kernels(z)
    towards = torch.randn_like(before)
    (before * towards).sum().backward()
    with torch.no_grad():
        for parameter in (layer.inner.weight, layer.inner.bias, layer.outer):
            parameter += 1e-3 * parameter.grad
        moved = ((layer.kernels(z) - before) * towards).sum() / (1e-3 * towards.square().sum())
    assert 0.5 < moved < 4  # a plain kernel's is 1
