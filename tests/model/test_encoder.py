from typing import get_args

import numpy as np
import pytest
import torch

from drasclr_core.model.encoder import Conditioning, Encoder, normalise_hu

CONDITIONINGS = get_args(Conditioning)


@pytest.mark.parametrize(
    ("conditioning", "millions"),
    [
        ("location", 8.26),  # 8.2 M in the experts, as the paper's; the rest in routing, norms and the head
        ("none", 1.06),
        ("concatenation", 1.10),
        ("hypernetwork", 3.09),
    ],
)
def test_the_sizes_that_the_documentation_states(conditioning, millions):
    count = sum(p.numel() for p in Encoder(conditioning=conditioning).parameters())
    assert round(count / 1e6, 2) == millions


def test_a_patch_becomes_one_vector_that_depends_on_the_location():
    encoder = Encoder(feature_dim=16, num_experts=2).eval()
    x = torch.randn(2, 1, 32, 32, 32)
    near, far = encoder(x, torch.zeros(3)), encoder(x, torch.ones(3))
    assert near.shape == (2, 16)
    assert not torch.allclose(near, far)


@pytest.mark.parametrize("conditioning", [each for each in CONDITIONINGS if each != "none"])
def test_in_training_too_the_location_makes_a_difference(conditioning):
    torch.manual_seed(0)
    encoder = Encoder(feature_dim=16, num_experts=2, conditioning=conditioning)
    x = torch.randn(4, 1, 32, 32, 32)
    here, there = encoder(x, torch.full((3,), -1.0)), encoder(x, torch.ones(3))
    assert (here - there).abs().max() > 1e-3


def test_without_conditioning_the_location_makes_no_difference():
    encoder = Encoder(feature_dim=16, conditioning="none").eval()
    x = torch.randn(2, 1, 32, 32, 32)
    assert torch.equal(encoder(x, torch.zeros(3)), encoder(x, torch.ones(3)))


def test_projections_have_unit_length():
    encoder = Encoder(num_experts=1).eval()
    z = encoder.project(encoder(torch.randn(3, 1, 32, 32, 32), torch.zeros(3)))
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))


def test_the_normalised_head_standardises_every_number_over_the_batch():
    torch.manual_seed(0)
    plain, normed = Encoder(num_experts=1), Encoder(num_experts=1, head_norm=True)
    h = torch.randn(64, 128)
    z = normed.head(h)
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(128), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(dim=0, correction=0), torch.ones(128), atol=1e-3, rtol=0)
    assert not torch.allclose(plain.head(h).mean(dim=0), torch.zeros(128), atol=1e-3)
    # Weights of before the second normalisation still load.
    assert {name.split(".")[1] for name in normed.state_dict() if name.startswith("head.")} == {"0", "1", "3"}


@pytest.mark.parametrize("shape", [(1, 1, 64, 64, 64), (1, 2, 32, 32, 32), (1, 1, 32, 32)])
def test_other_patch_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="32, 32, 32"):
        Encoder(num_experts=1)(torch.zeros(shape), torch.zeros(3))


def test_intensities_by_hand():
    hu = torch.tensor(np.array([-3000, -1024, -392, 240, 3000], np.int16))
    assert normalise_hu(hu).tolist() == [-1, -1, 0, 1, 1]


def seasoned_encoder(conditioning, seed=0):
    """Return an encoder whose batch norms have seen something: no statistic or parameter is 0 or 1."""
    torch.manual_seed(seed)
    encoder = Encoder(feature_dim=16, num_experts=3, conditioning=conditioning)
    for norm in encoder.norms[:13]:
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.3, 2)
        norm.weight.data.uniform_(-1.5, 1.5)
        norm.bias.data.normal_(0, 0.2)
    return encoder.eval()


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_encoder_at_a_location_is_the_encoder(conditioning):
    encoder = seasoned_encoder(conditioning)
    x, p = torch.randn(3, 1, 32, 32, 32), torch.tensor([0.3, -0.9, 1.4])
    with torch.no_grad():
        expected = encoder(x, p)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(encoder.at(p)(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_encoder_at_a_few_locations_is_that_of_each(conditioning):
    encoder = seasoned_encoder(conditioning)
    x, p = torch.randn(2, 3, 32, 32, 32), torch.randn(3, 3)
    with torch.no_grad():
        expected = torch.cat([encoder(x[:, [place]], code) for place, code in enumerate(p)], dim=1)
    torch.testing.assert_close(encoder.at(p)(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_blocks_of_patches_share_the_locations_in_their_order(conditioning):
    encoder = seasoned_encoder(conditioning)
    x, p = torch.randn(6, 1, 32, 32, 32), torch.randn(3, 3)
    with torch.no_grad():
        expected = torch.cat([encoder(x[2 * place : 2 * place + 2], code) for place, code in enumerate(p)])
        torch.testing.assert_close(encoder(x, p), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_encoder_at_a_location_shares_nothing_with_the_encoder(conditioning):
    encoder = seasoned_encoder(conditioning)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    for buffer in encoder.at(torch.zeros(3)).buffers():
        buffer.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_an_encoder_in_training_has_no_encoder_at_a_location():
    with pytest.raises(ValueError, match="eval"):
        Encoder(num_experts=1).at(torch.zeros(3))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32, 32), (1, 2, 16, 16, 16), (2, 32, 32, 32)])
def test_patches_that_do_not_fit_the_locations_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 2, 32, 32, 32\)"):
        Encoder(num_experts=1).eval().at(torch.zeros(2, 3))(torch.zeros(shape))
