import copy

import pytest
import torch

from drasclr_core.model.encoder import Encoder
from drasclr_core.train.moco import KeyQueues, update_key_encoder


def queues(size=4, landmarks=2):
    return KeyQueues(landmarks, size, 3)


def numbered(*numbers):
    return torch.tensor([[float(n)] * 3 for n in numbers])


def test_the_queue_wraps_at_any_batch_size():
    q = queues()
    q.enqueue(1, numbered(1, 2, 3), torch.tensor([1, 2, 3]), step=7)
    q.enqueue(1, numbered(4, 5, 6), torch.tensor([4, 5, 6]), step=8)
    assert q.keys[1, :, 0].tolist() == [5, 6, 3, 4]
    assert q.persons[1].tolist() == [5, 6, 3, 4]
    assert q.steps[1].tolist() == [8, 8, 7, 8]
    assert q.pointers == [0, 2]
    assert q.keys[0].abs().sum() == 0  # the other landmark's queue is untouched
    assert q.persons[0].tolist() == q.steps[0].tolist() == [-1] * 4


def test_what_is_no_negative_is_masked():
    q = queues()
    q.enqueue(0, numbered(1, 2), torch.tensor([7, 8]), step=0)
    q.enqueue(0, numbered(3), torch.tensor([7]), step=4)
    assert q.masked(0, since=0).tolist() == [[False, False, False, True]]
    assert q.masked(0, since=1).tolist() == [[True, True, False, True]]
    assert q.masked(0, 0, torch.tensor([7, 9])).tolist() == [[True, False, True, True], [False, False, False, True]]


def test_a_restored_queue_goes_on_in_the_same_place():
    q, restored = queues(), queues()
    q.enqueue(0, numbered(1, 2, 3), torch.tensor([1, 2, 3]), step=0)
    restored.load_state_dict(copy.deepcopy(q.state_dict()))
    for each in (q, restored):
        each.enqueue(0, numbered(4, 5), torch.tensor([4, 5]), step=1)
    for name in ("keys", "persons", "steps"):
        assert torch.equal(getattr(q, name), getattr(restored, name))
    assert q.pointers == restored.pointers


def test_the_key_encoder_follows_in_its_parameters_only():
    query, key = Encoder(num_experts=1), Encoder(num_experts=1)
    query.norms[0].running_mean.fill_(5)
    before = copy.deepcopy(key.state_dict())
    update_key_encoder(key, query, 0.9)
    for name, parameter in key.named_parameters():
        expected = 0.9 * before[name] + 0.1 * query.get_parameter(name)
        torch.testing.assert_close(parameter, expected)
    assert torch.equal(key.norms[0].running_mean, before["norms.0.running_mean"])


def test_momentum_zero_copies():
    query, key = Encoder(num_experts=1), Encoder(num_experts=1)
    update_key_encoder(key, query, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(key.parameters(), query.parameters(), strict=True))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(key.convs[0].weight, Encoder(num_experts=1).convs[0].weight)
