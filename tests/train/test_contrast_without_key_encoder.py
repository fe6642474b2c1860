"""Contrast without a key encoder, against a plain version with a loop over the queries."""

import copy
import math

import pytest
import torch
from test_contrast import measured, toy, toy_views


def plain_losses(encoder, codes, neighbours, views, settings):
    """Return both losses of a step, as sums over groups, directions and queries."""
    local, around = [], []
    for group in range(settings.groups):
        share = settings.batch_size // settings.groups
        persons = views.persons[group * share : (group + 1) * share].tolist()
        both = torch.cat([views.queries[group], views.keys[group]])
        first, second = encoder.project(encoder(both, codes[0])).split(share)
        near = encoder.project(encoder(views.neighbours[group].flatten(0, 1), codes[neighbours]))
        sets = near.unflatten(0, (len(neighbours), share)).sum(0)
        for queries, keys, losses in ((first, second, local), (second, first, local), (sets, second, around)):
            for i, query in enumerate(queries):
                others = [view[j] for view in (first, second) for j in range(share) if persons[j] != persons[i]]
                logits = torch.stack([keys[i], *others]) @ query / settings.temperature
                losses.append(-torch.log_softmax(logits, 0)[0])
    return torch.stack(local).mean(), torch.stack(around).mean()


def contrast_of(**changes):
    return toy(
        **{"groups": 2, "batch": 8, "negatives": "batch", "key_momentum": None, "precision": "float64"} | changes
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_losses_and_gradients_equal_a_plain_loop(groups):
    contrast = contrast_of(groups=groups, beta=0.5, weight_decay=0.0, head_norm=True)
    views = toy_views(contrast, persons=torch.tensor([0, 1, 2, 1, 3, 4, 5, 3]))
    plain = copy.deepcopy(contrast.encoder)
    local, around = plain_losses(plain, contrast.codes, contrast.neighbours[0], views, contrast.settings)
    (local + 0.5 * around).backward()

    found = measured(contrast, views)
    assert found["loss_local"] == pytest.approx(local.item(), rel=1e-10)
    assert found["loss_neighbour"] == pytest.approx(around.item(), rel=1e-10)
    for (name, ours), theirs in zip(contrast.encoder.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-12, msg=name)


def test_a_constant_encoder_costs_the_logarithm_of_its_candidates():
    contrast = contrast_of()
    torch.nn.init.zeros_(contrast.encoder.head[2].weight)
    torch.nn.init.ones_(contrast.encoder.head[2].bias)
    found = measured(contrast, toy_views(contrast))
    for name in ("loss_local", "loss_neighbour", "chance"):
        assert found[name] == pytest.approx(math.log(7), abs=1e-12), name  # one key, two views of three others
    # Of the three others of each query's group of four both views, of fresh ones their keys; a tie is no skill.
    assert (found["pairs"], found["fresh_pairs"]) == (48, 24)
    assert (found["fresh_hits"], found["fresh_queries"], found["fresh_wins"]) == (0, 8, 12)


def test_a_checkpoint_holds_no_key_encoder_and_goes_on_where_it_was():
    contrast, other = contrast_of(), contrast_of()
    contrast.step(toy_views(contrast, seed=0), 0.01)
    state = copy.deepcopy(contrast.state_dict())
    assert set(state) == {"encoder", "queues", "optimiser"}
    other.load_state_dict(state)
    views = toy_views(contrast, seed=1)
    assert torch.equal(contrast.step(views, 0.01)[0], other.step(views, 0.01)[0])
