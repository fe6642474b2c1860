import math

import numpy as np
import pytest
import torch

from drasclr_core.losses import (
    alignment,
    contrastive_logits,
    effective_rank,
    info_nce,
    neighbour_logits,
    pair_potential,
    skill,
)

RNG = np.random.default_rng(0)


def unit(*shape):
    x = RNG.normal(size=shape)
    return torch.tensor(x / np.linalg.norm(x, axis=-1, keepdims=True))


def plain_loss(queries, keys, negatives, tau, allowed):
    """Return equation 6 (one query) or 8 (a set of queries) written out with exponentials."""
    total = 0.0
    for i, key in enumerate(keys):
        positive = math.exp(sum(float(r[i] @ key) for r in queries) / tau)
        negative = sum(
            math.exp(sum(float(r[i] @ n) for r in queries) / tau)
            for n, ok in zip(negatives, allowed[i], strict=True)
            if ok
        )
        total -= math.log(positive / (positive + negative))
    return total / len(keys)


@pytest.mark.parametrize("masking", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_losses_equal_the_papers_formulas(k, masking):
    queries, keys, negatives = unit(k, 4, 8), unit(4, 8), unit(6, 8)
    masked = torch.tensor(RNG.random((4, 6)) < 0.3) if masking else None
    allowed = ~masked if masking else torch.ones(4, 6, dtype=bool)
    expected = plain_loss(queries, keys, negatives, 0.2, allowed)
    assert info_nce(neighbour_logits(queries, keys, negatives, 0.2, masked)).item() == pytest.approx(
        expected, abs=1e-12
    )
    if k == 1:
        local = info_nce(contrastive_logits(queries[0], keys, negatives, 0.2, masked))
        assert local.item() == pytest.approx(expected, abs=1e-12)


def test_features_that_tell_nothing_cost_log_of_the_candidates():
    same = torch.ones(3, 4) / 2
    logits = contrastive_logits(same, same, torch.ones(7, 4) / 2, 0.2)
    assert info_nce(logits).item() == pytest.approx(math.log(8))


def test_loss_stays_finite_with_every_negative_masked():
    loss = info_nce(contrastive_logits(unit(2, 4), unit(2, 4), unit(3, 4), 0.2, torch.ones(2, 3, dtype=bool)))
    assert loss.item() == pytest.approx(0, abs=1e-12)


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
