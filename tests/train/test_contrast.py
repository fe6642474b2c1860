import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference import released_model

from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.encoder import Encoder
from drasclr_core.model.released import released_names
from drasclr_core.train.contrast import Contrast
from drasclr_core.train.measures import MEANS, MEASURES
from drasclr_core.train.parallel import Processes
from drasclr_core.train.views import Views

CPU = torch.device("cpu")


def relative_error(ours, theirs):
    theirs = np.asarray(theirs)
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


@pytest.fixture(scope="module")
def released():
    """The released model's weights and batch in our classes, and what it computed."""
    recorded, weights, inputs, expected = released_model()
    settings = PretrainSettings(
        batch_size=recorded["batch"],
        groups=1,
        neighbours=recorded["neighbours"],
        queue_size=recorded["queue"],
        mask_same_subject=False,
        num_experts=recorded["experts"],
        learning_rate=recorded["lr"],
        temperature=recorded["temperature"],
        key_momentum=recorded["moco_momentum"],
        channels_last=False,  # the order of the sums as in the released code
    )
    encoder = Encoder(num_experts=recorded["experts"])
    encoder.load_state_dict(
        {ours: torch.tensor(weights[f"encoder_q.{theirs}"]) for ours, theirs in released_names().items()}
    )
    # The same three location rows serve at every landmark: the neighbours' codes are those of landmarks 3 and 4.
    codes = np.concatenate([np.repeat(inputs["locations"][:1], 3, axis=0), inputs["locations"][1:]])
    contrast = Contrast(encoder, codes, np.tile([3, 4], (5, 1)), settings, Processes(0, 1, 1), CPU)
    contrast.queues.keys[:3] = torch.tensor(weights["queue"]).permute(2, 1, 0)
    contrast.queues.steps[:3] = 0  # the released code takes its random vectors for keys
    return contrast, inputs, expected


def views_at(landmark, inputs):
    neighbours = torch.tensor(inputs["neighbours"]).transpose(0, 1)[None, :, :, None]
    batch = len(inputs["query"])
    return Views(
        landmark=landmark,
        step=landmark + 1,
        visit=landmark + 1,
        persons=torch.arange(batch),
        queries=torch.tensor(inputs["query"])[None],
        keys=torch.tensor(inputs["key"])[None],
        neighbours=neighbours,
        key_order=torch.randperm(batch, generator=torch.Generator().manual_seed(0)),
    )


def test_three_steps_are_the_released_ones(released):
    contrast, inputs, expected = copy.deepcopy(released[0]), *released[1:]
    views = views_at(0, inputs)
    probe = copy.deepcopy(contrast)
    compared = probe.compare(views, 0, 0, probe.encode_keys(views), probe.kernels(0))
    assert relative_error(compared.local.detach(), expected["logits_local"]) < 1e-5
    assert relative_error(compared.around.detach(), expected["logits_neighbour"]) < 1e-5

    losses = []
    for landmark in range(3):
        measures, _ = contrast.step(views_at(landmark, inputs), learning_rate=0.01)
        losses.append(measures[:2].tolist())
        if landmark == 0:
            norms = [parameter.grad.norm().item() for parameter in contrast.encoder.parameters()]
            ours = dict(zip([n for n, _ in contrast.encoder.named_parameters()], norms, strict=True))
            theirs = dict(zip(in_released_order(contrast.encoder), expected["grad_norms"], strict=True))
            assert relative_error([ours[n] for n in theirs], list(theirs.values())) < 1e-5
    assert relative_error(losses, expected["losses"]) < 1e-5
    assert contrast.queues.pointers[:3] == expected["queue_ptr"].tolist()
    first = contrast.queues.keys[0, : len(inputs["query"])]
    assert relative_error(first, expected["queue_loc0_first"]) < 1e-5
    with torch.no_grad():
        h = contrast.encoder.eval()(torch.tensor(inputs["query"]), torch.tensor(inputs["mixed"]))
    assert relative_error(h, expected["after_h"]) < 1e-5


def in_released_order(encoder):
    """Return our parameter names in the order the released model registers them."""
    parameters = {name for name, _ in encoder.named_parameters()}
    recorded, _, _, _ = released_model()
    ours = {f"encoder_q.{theirs}": name for name, theirs in released_names().items()}
    return [ours[name] for name, _ in recorded["state_dict"] if ours.get(name) in parameters]


def toy(groups=2, batch=4, **changes):
    torch.manual_seed(0)
    settings = PretrainSettings(
        **{"batch_size": batch, "groups": groups, "queue_size": 16, "feature_dim": 8, "num_experts": 2} | changes
    )
    codes = np.random.default_rng(0).uniform(-1, 1, (3, 3))
    table = np.array([[1, 2], [0, 2], [1, 0]])
    encoder = Encoder(settings.feature_dim, settings.num_experts, settings.conditioning)
    return Contrast(encoder, codes, table, settings, Processes(0, 1, groups), CPU)


def toy_views(contrast, landmark=0, seed=0, **changes):
    rng = np.random.default_rng(seed)
    s = contrast.settings
    share = s.batch_size // s.groups

    def draw(*shape):
        return torch.tensor(rng.uniform(-1, 1, (*shape, 1, 32, 32, 32)), dtype=contrast.dtype)

    made = {
        "landmark": landmark,
        "step": seed,
        "visit": seed,
        "persons": torch.arange(s.batch_size),
        "queries": draw(s.groups, share),
        "keys": draw(s.groups, share),
        "neighbours": draw(s.groups, s.neighbours, share),
        "key_order": torch.tensor(rng.permutation(s.batch_size)),
    }
    return Views(**made | changes)


def compared_groups(contrast, views):
    """Return the keys of the batch, and the comparison of every group."""
    keys, kernels = contrast.encode_keys(views), contrast.kernels(views.landmark)
    return keys, [contrast.compare(views, group, group, keys, kernels) for group in range(contrast.settings.groups)]


def measured(contrast, views):
    return dict(zip(MEASURES, contrast.step(views, 0.01)[0].tolist(), strict=True))


def test_keys_are_dealt_across_groups_and_come_back_in_order():
    contrast = toy()
    views = toy_views(contrast)
    order = torch.tensor([0, 3, 2, 1])
    views = Views(**{**vars(views), "key_order": order})
    keys = contrast.encode_keys(views)
    patches = views.keys.flatten(0, 1)
    for members in (order[:2], order[2:]):  # batch statistics are those of the dealt group
        with torch.no_grad():
            encoder = copy.deepcopy(contrast.key_encoder)
            expected = encoder.project(encoder(patches[members], contrast.codes[0]))
        torch.testing.assert_close(keys[members], expected)


def test_running_statistics_are_the_mean_over_groups():
    contrast = toy(neighbours=0)
    views = toy_views(contrast)
    conv = contrast.encoder.convs[0]
    with torch.no_grad():
        means = [conv(views.queries[g], contrast.codes[0]).mean(dim=(0, 2, 3, 4)) for g in range(2)]
    contrast.step(views, 0.01)
    expected = 0.1 * (means[0] + means[1]) / 2
    torch.testing.assert_close(contrast.encoder.norms[0].running_mean, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("negatives", ["queue", "batch", "fresh"])
def test_only_keys_of_other_persons_that_were_made_are_negatives(negatives):
    contrast = toy(negatives=negatives)
    persons = torch.tensor([0, 1, 2, 1])  # two scans of one person, in both groups
    for step in range(2):  # of an earlier visit, and of this one
        contrast.step(toy_views(contrast, seed=step, persons=persons + 2 * step), 0.0)
    views = toy_views(contrast, seed=2, visit=1, persons=persons + 1)
    keys, groups = compared_groups(contrast, views)
    expected, whose = [], [*[0, 1, 2, 1], *[2, 3, 4, 3]]
    if negatives != "batch":
        used = {"queue": range(8), "fresh": range(4, 8)}[negatives]
        expected += [(contrast.queues.keys[0, slot], whose[slot], 2 - slot // 4) for slot in used]
    if negatives != "queue":
        expected += [(key, person, 0) for key, person in zip(keys, views.persons.tolist(), strict=True)]
    for group, compared in enumerate(groups):
        for row, person in enumerate(views.persons[2 * group : 2 * group + 2].tolist()):
            seen = ~compared.negatives.masked[row]
            others = [(key, age) for key, whose_, age in expected if whose_ != person]
            assert torch.equal(compared.negatives.keys[seen], torch.stack([key for key, _ in others]))
            assert compared.negatives.ages[seen].tolist() == [age for _, age in others]
            assert torch.equal(torch.isinf(compared.local[row, 1:]), ~seen)
            assert torch.equal(torch.isinf(compared.around[row, 1:]), ~seen)


def test_unmasked_a_query_sees_its_person_but_never_its_own_key():
    contrast = toy(negatives="batch", mask_same_subject=False)
    _, groups = compared_groups(contrast, toy_views(contrast, persons=torch.zeros(4, dtype=torch.int64)))
    masked = torch.cat([compared.negatives.masked for compared in groups])
    assert torch.equal(masked, torch.eye(4, dtype=bool))


@pytest.mark.parametrize("negatives", ["queue", "batch", "fresh"])
def test_a_constant_encoder_costs_the_logarithm_of_its_candidates_at_every_step(negatives):
    contrast = toy(negatives=negatives, precision="float64", queue_size=6)
    for encoder in (contrast.encoder, contrast.key_encoder):
        torch.nn.init.zeros_(encoder.head[2].weight)
        torch.nn.init.ones_(encoder.head[2].bias)
    contrast.settings = replace(contrast.settings, key_momentum=1.0)
    filled = {"queue": [0, 4, 6], "batch": [0, 0, 0], "fresh": [0, 4, 0]}[negatives]  # slots that count
    for step, (slots, visit) in enumerate(zip(filled, [0, 0, 2], strict=True)):
        persons = torch.arange(4) + 4 * step
        batch = 0 if negatives == "queue" else 3
        found = dict(
            zip(
                MEASURES,
                contrast.step(toy_views(contrast, seed=step, visit=visit, persons=persons), 0.0)[0].tolist(),
                strict=True,
            )
        )
        expected = math.log(1 + slots + batch)
        for name in ("loss_local", "loss_neighbour", "chance"):
            assert found[name] == pytest.approx(expected, abs=1e-12), name
        assert found["pairs"] == 4 * (slots + batch)
        assert found["fresh_pairs"] == 12
        assert found["fresh_hits"] == 0  # a tie is no skill
        assert found["fresh_wins"] == 6


def test_a_global_queue_serves_every_landmark():
    contrast = toy(queues="global")
    contrast.step(toy_views(contrast, landmark=2), 0.01)
    assert contrast.queues.keys.shape[0] == 1
    assert contrast.queues.pointers == [4]


def test_without_a_queue_none_is_kept():
    contrast = toy(negatives="batch")
    contrast.step(toy_views(contrast), 0.01)
    assert contrast.queues.keys.numel() == 0


def test_the_measures_equal_a_plain_count():
    contrast = toy(precision="float64", negatives="fresh")
    contrast.step(toy_views(contrast, seed=0, persons=torch.arange(4) + 4), 0.01)
    views, other = toy_views(contrast, seed=1, visit=0), copy.deepcopy(contrast)
    measures, wishes = contrast.step(views, 0.01, stop=True)
    keys, groups = compared_groups(other, views)
    expected = {name: 0.0 for name in MEASURES}
    for group, compared in enumerate(groups):
        queries, mine = compared.queries.detach(), keys[2 * group : 2 * group + 2]
        losses = [-each.detach().log_softmax(1)[:, 0].mean() for each in (compared.local, compared.around)]
        near = (2 - 2 * (queries * mine).sum(1)).mean()
        apart = torch.exp(-2 * (2 - 2 * queries[0] @ queries[1]))
        for name, value in zip(MEANS, [*losses, math.log(8), near, apart], strict=False):
            expected[name] += float(value) / 2
        for row, query in enumerate(queries):
            own = float(query @ mine[row])
            fresh = [float(query @ key) for place, key in enumerate(keys) if place != 2 * group + row]
            queued = [float(query @ key) for key in other.queues.keys[0, :4]]
            for name, others in (("", queued + fresh), ("fresh_", fresh)):
                expected[f"{name}hits"] += own > max(others)
                expected[f"{name}queries"] += 1
                expected[f"{name}wins"] += sum(own > each for each in others)
                expected[f"{name}pairs"] += len(others)
        expected["age"] += 2 * 4 * 1
    features = torch.cat([compared.features.detach() for compared in groups])
    spectrum = np.linalg.eigvalsh(np.cov(features.numpy().T))
    expected["effective_rank"] = spectrum.sum() ** 2 / (spectrum**2).sum()
    assert dict(zip(MEASURES, measures.tolist(), strict=True)) == pytest.approx(expected, abs=1e-9)
    assert wishes == 1


def test_nothing_is_said_of_skill_against_an_empty_queue():
    found = measured(toy(), toy_views(toy()))
    assert (found["queries"], found["pairs"], found["fresh_pairs"]) == (0, 0, 12)
    assert found["loss_local"] == 0


def test_beta_weighs_the_neighbouring_loss():
    gradients = {}
    for beta in (0.0, 1.0, 2.0):
        contrast = toy(beta=beta, negatives="batch")
        contrast.step(toy_views(contrast), 0.0)
        gradients[beta] = contrast.encoder.convs[3].weight.grad
    slope = gradients[1.0] - gradients[0.0]
    assert slope.norm() > 0
    torch.testing.assert_close(gradients[2.0] - gradients[1.0], slope, rtol=0, atol=1e-4 * slope.abs().max().item())


@pytest.mark.parametrize("landmark", range(3))
def test_only_the_landmarks_own_queue_and_codes_are_used(landmark):
    contrast, other = toy(neighbours=0), toy(neighbours=0)
    for each in (contrast, other):
        each.step(toy_views(contrast, landmark), 0.0)
        assert each.queues.pointers == [4 if place == landmark else 0 for place in range(3)]
    elsewhere = [place for place in range(3) if place != landmark]
    other.queues.keys[elsewhere] = 1
    other.queues.steps[elsewhere] = 0
    other.codes[elsewhere] = 5
    views = toy_views(contrast, landmark, seed=1, persons=torch.arange(4) + 4)
    ours, theirs = contrast.step(views, 0.01)[0], other.step(views, 0.01)[0]
    assert torch.equal(ours, theirs)
    assert ours[MEASURES.index("pairs")] == 16


@pytest.mark.parametrize("negatives", ["queue", "batch", "fresh"])
def test_the_saved_state_goes_on_as_if_nothing_happened(negatives):
    contrast, restored = toy(negatives=negatives), toy(negatives=negatives)
    contrast.step(toy_views(contrast), 0.01)
    restored.load_state_dict(copy.deepcopy(contrast.state_dict()))
    for each in (contrast, restored):
        each.step(toy_views(contrast, seed=1, visit=0, persons=torch.arange(4) + 4), 0.01)
    for a, b in zip(contrast.encoder.parameters(), restored.encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def after_three_steps(**changes):
    contrast = toy(precision="float64", **changes)
    for step in range(3):
        views = toy_views(contrast, seed=step, visit=0, persons=torch.arange(4) + 4 * step)
        measures, _ = contrast.step(views, learning_rate=0.05)
    return contrast, measures


def test_the_order_of_the_channels_changes_no_result():
    (plain, measures), (other, others) = after_three_steps(channels_last=True), after_three_steps(channels_last=False)
    torch.testing.assert_close(measures, others, rtol=1e-10, atol=0)
    for ours, theirs in zip(plain.encoder.parameters(), other.encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("conditioning", ["none", "concatenation", "hypernetwork"])
def test_every_conditioning_learns_at_several_locations_from_the_gradients_of_the_whole_loss(conditioning):
    contrast = toy(precision="float64", conditioning=conditioning, negatives="batch")
    views, reference = toy_views(contrast), copy.deepcopy(contrast)
    contrast.step(views, 0.0)
    keys, losses = reference.encode_keys(views), []
    for group in range(2):  # the losses of both groups through one graph, kernels and all
        codes = reference.codes[[0, 1, 2]]
        kernels = [layer.split([1, 2]) for layer in reference.encoder.kernels(codes)]
        mixed = SimpleNamespace(centre=[a for a, _ in kernels], around=[b for _, b in kernels])
        compared = reference.compare(views, group, group, keys, mixed)
        losses += [-each.log_softmax(1)[:, 0].mean() for each in (compared.local, compared.around)]
    (sum(losses) / 2).backward()
    for (name, ours), theirs in zip(contrast.encoder.named_parameters(), reference.encoder.parameters(), strict=True):
        assert ours.grad is not None, name
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-10, msg=name)
    assert contrast.encoder.head[0].weight.grad.abs().max() > 0


def test_half_precision_queues_hold_the_keys_to_three_digits():
    (full, measures), (half, others) = after_three_steps(), after_three_steps(queue_precision="float16")
    assert half.queues.keys.dtype == torch.float16
    torch.testing.assert_close(half.queues.keys.double(), full.queues.keys, rtol=0, atol=1e-3)
    torch.testing.assert_close(measures, others, rtol=1e-2, atol=0)
