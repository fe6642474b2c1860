import math

import numpy as np
import pytest
import torch

from drasclr_core.train.measures import alignment, effective_rank, pair_potential, skill

RNG = np.random.default_rng(0)


def unit(*shape):
    x = RNG.normal(size=shape)
    return torch.tensor(x / np.linalg.norm(x, axis=-1, keepdims=True))


def test_alignment_and_pair_potential_equal_their_definitions():
    x, y = unit(5, 8), unit(5, 8)
    distances = [
        sum((a - b) ** 2 for a, b in zip(p.tolist(), q.tolist(), strict=True)) for p, q in zip(x, y, strict=True)
    ]
    assert alignment(x, y).item() == pytest.approx(sum(distances) / 5)
    pairs = [math.exp(-2 * float(((x[i] - x[j]) ** 2).sum())) for i in range(5) for j in range(i)]
    assert pair_potential(x).item() == pytest.approx(sum(pairs) / len(pairs))


def test_points_that_are_one_have_potential_one_and_opposite_ones_almost_none():
    one = torch.tensor([[1.0, 0.0]])
    assert pair_potential(one.repeat(3, 1)).item() == 1
    assert pair_potential(torch.cat([one, -one])).item() == pytest.approx(math.exp(-8))


def test_skill_by_hand():
    positive = torch.tensor([[0.5], [0.5], [0.5], [0.9]])
    others = torch.tensor([[0.1, 0.2, 0.9], [0.5, 0.2, 0.1], [0.6, 0.4, 0.5], [1.0, 1.0, 1.0]])
    masked = torch.tensor([[False, False, True], [False, True, False], [False, False, False], [True, True, True]])
    # The first beats both it sees; the second ties with one and beats one; the third beats one of three and ties once.
    assert skill(positive, others, masked).tolist() == [1, 3, 2 + 1.5 + 1.5, 7]


def test_effective_rank_equals_that_of_the_eigenvalues():
    for rows, columns in ((6, 9), (40, 5)):
        points = RNG.normal(size=(rows, columns)) * np.arange(1, columns + 1) + 3
        spectrum = np.linalg.eigvalsh(np.cov(points.T))
        expected = spectrum.sum() ** 2 / (spectrum**2).sum()
        assert effective_rank(torch.tensor(points)).item() == pytest.approx(expected)


def test_effective_rank_of_a_line_is_one_and_of_a_point_zero():
    line = torch.arange(5.0)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
    assert effective_rank(line).item() == pytest.approx(1)
    assert effective_rank(torch.ones(5, 3)).item() == 0
