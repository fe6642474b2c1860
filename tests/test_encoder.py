import numpy as np
import pytest
import torch

from drasclr_core.encoder import Encoder, normalise_hu


def test_it_has_the_papers_size():
    count = sum(p.numel() for p in Encoder().parameters())
    assert round(count / 1e6, 1) == 8.3  # 8.2 M in the experts, the rest in routing, norms and the head


def test_a_patch_becomes_one_vector_that_depends_on_the_location():
    encoder = Encoder(feature_dim=16, num_experts=2).eval()
    x = torch.randn(2, 1, 32, 32, 32)
    near, far = encoder(x, torch.zeros(3)), encoder(x, torch.ones(3))
    assert near.shape == (2, 16)
    assert not torch.allclose(near, far)


def test_without_conditioning_the_location_makes_no_difference():
    encoder = Encoder(feature_dim=16, conditioning="none").eval()
    x = torch.randn(2, 1, 32, 32, 32)
    assert torch.equal(encoder(x, torch.zeros(3)), encoder(x, torch.ones(3)))


def test_projections_have_unit_length():
    z = Encoder(num_experts=1).eval().project(torch.randn(3, 1, 32, 32, 32), torch.zeros(3))
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("shape", [(1, 1, 64, 64, 64), (1, 2, 32, 32, 32), (1, 1, 32, 32)])
def test_other_patch_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="32, 32, 32"):
        Encoder(num_experts=1)(torch.zeros(shape), torch.zeros(3))


def test_intensities_by_hand():
    hu = torch.tensor(np.array([-3000, -1024, -392, 240, 3000], np.int16))
    assert normalise_hu(hu).tolist() == [-1, -1, 0, 1, 1]
