import math

import numpy as np
import pytest
import torch

from drasclr_core.train.losses import contrastive_logits, info_nce, neighbour_logits

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
