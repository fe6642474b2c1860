import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference import released_model

from drasclr_core.contrast import Contrast, Views
from drasclr_core.encoder import Encoder
from drasclr_core.parallel import Processes
from drasclr_core.released import released_names
from drasclr_core.settings import PretrainSettings

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
    return contrast, inputs, expected


def views_at(landmark, inputs):
    neighbours = torch.tensor(inputs["neighbours"]).transpose(0, 1)[None, :, :, None]
    batch = len(inputs["query"])
    return Views(
        landmark=landmark,
        subjects=torch.arange(batch),
        queries=torch.tensor(inputs["query"])[None],
        keys=torch.tensor(inputs["key"])[None],
        neighbours=neighbours,
        key_order=torch.randperm(batch, generator=torch.Generator().manual_seed(0)),
    )


def test_three_steps_are_the_released_ones(released):
    contrast, inputs, expected = copy.deepcopy(released[0]), *released[1:]
    views = views_at(0, inputs)
    probe = copy.deepcopy(contrast)
    local, around, _ = probe.logits(views, 0, 0, probe.encode_keys(views), probe.kernels(0))
    assert relative_error(local.detach(), expected["logits_local"]) < 1e-5
    assert relative_error(around.detach(), expected["logits_neighbour"]) < 1e-5

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


def toy_views(contrast, landmark=0, seed=0):
    rng = np.random.default_rng(seed)
    s = contrast.settings
    share = s.batch_size // s.groups

    def draw(*shape):
        return torch.tensor(rng.uniform(-1, 1, (*shape, 1, 32, 32, 32)), dtype=contrast.dtype)

    return Views(
        landmark=landmark,
        subjects=torch.arange(s.batch_size),
        queries=draw(s.groups, share),
        keys=draw(s.groups, share),
        neighbours=draw(s.groups, s.neighbours, share),
        key_order=torch.tensor(rng.permutation(s.batch_size)),
    )


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
            expected = encoder.project(patches[members], encoder.kernels(contrast.codes[:1]))
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


def test_own_keys_do_not_count_as_negatives():
    contrast = toy()
    views = toy_views(contrast)
    contrast.step(views, 0.0)
    local, around, _ = contrast.logits(views, 1, 1, contrast.encode_keys(views), contrast.kernels(0))
    hidden = torch.isinf(local[:, 1:])
    assert torch.equal(hidden, contrast.queues.subjects[0] == views.subjects[2:, None])
    assert hidden.sum(1).tolist() == [1] * 2
    assert torch.equal(hidden, torch.isinf(around[:, 1:]))


def test_a_global_queue_serves_every_landmark():
    contrast = toy(queues="global")
    contrast.step(toy_views(contrast, landmark=2), 0.01)
    assert contrast.queues.keys.shape[0] == 1
    assert contrast.queues.pointers == [4]


def test_the_measures_are_those_of_the_groups():
    contrast, other = toy(), toy()
    views = toy_views(contrast)
    measures, wishes = contrast.step(views, 0.01, stop=True)
    keys, expected = other.encode_keys(views), []
    for group, mine in enumerate((slice(0, 2), slice(2, 4))):
        local, around, query = (tensor.detach() for tensor in other.logits(views, group, group, keys, other.kernels(0)))
        losses = [-each.log_softmax(1)[:, 0].mean() for each in (local, around)]
        top1 = (local[:, :1] >= local).all(1).float().mean()
        near = (2 - 2 * (query * keys[mine]).sum(1)).mean()
        apart = torch.exp(-2 * (2 - 2 * query[0] @ query[1]))
        expected.append(torch.stack([*losses, top1, near, apart]))
    torch.testing.assert_close(measures, torch.stack(expected).mean(0), rtol=1e-4, atol=1e-5)
    assert wishes == 1


def test_beta_weighs_the_neighbouring_loss():
    gradients = {}
    for beta in (0.0, 1.0, 2.0):
        contrast = toy(beta=beta)
        contrast.step(toy_views(contrast), 0.0)
        gradients[beta] = contrast.encoder.convs[3].weight.grad
    slope = gradients[1.0] - gradients[0.0]
    assert slope.norm() > 0
    torch.testing.assert_close(gradients[2.0] - gradients[1.0], slope, rtol=0, atol=1e-4 * slope.abs().max().item())


def test_only_the_landmarks_own_queue_and_codes_are_used():
    contrast, other = toy(), toy()
    other.queues.keys[1:] = 0
    other.codes[0] = contrast.codes[0]
    views = toy_views(contrast)
    ours, theirs = contrast.step(views, 0.01)[0], other.step(views, 0.01)[0]
    assert torch.equal(ours, theirs)


def test_the_saved_state_goes_on_as_if_nothing_happened():
    contrast, restored = toy(), toy()
    contrast.step(toy_views(contrast), 0.01)
    restored.load_state_dict(copy.deepcopy(contrast.state_dict()))
    for each in (contrast, restored):
        each.step(toy_views(contrast, seed=1), 0.01)
    for a, b in zip(contrast.encoder.parameters(), restored.encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def after_three_steps(**changes):
    contrast = toy(precision="float64", **changes)
    for step in range(3):
        measures, _ = contrast.step(toy_views(contrast, landmark=step, seed=step), learning_rate=0.05)
    return contrast, measures


def test_the_order_of_the_channels_changes_no_result():
    (plain, measures), (other, others) = after_three_steps(channels_last=True), after_three_steps(channels_last=False)
    torch.testing.assert_close(measures, others, rtol=1e-10, atol=0)
    for ours, theirs in zip(plain.encoder.parameters(), other.encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("conditioning", ["none", "concatenation", "hypernetwork"])
def test_every_conditioning_learns_at_several_locations_from_the_gradients_of_the_whole_loss(conditioning):
    contrast = toy(precision="float64", conditioning=conditioning)
    views, reference = toy_views(contrast), copy.deepcopy(contrast)
    contrast.step(views, 0.0)
    keys, losses = reference.encode_keys(views), []
    for group in range(2):  # the losses of both groups through one graph, kernels and all
        codes = reference.codes[[0, 1, 2]]
        kernels = [layer.split([1, 2]) for layer in reference.encoder.kernels(codes)]
        mixed = SimpleNamespace(centre=[a for a, _ in kernels], around=[b for _, b in kernels])
        local, around, _ = reference.logits(views, group, group, keys, mixed)
        losses += [-each.log_softmax(1)[:, 0].mean() for each in (local, around)]
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
