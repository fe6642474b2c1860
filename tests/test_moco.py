import copy

import pytest
import torch

from drasclr_core.encoder import Encoder
from drasclr_core.moco import KeyQueues, update_key_encoder


def queues(size=4, landmarks=2):
    return KeyQueues(landmarks, size, 3, torch.Generator().manual_seed(0))


def numbered(*numbers):
    return torch.tensor([[float(n)] * 3 for n in numbers])


def test_the_queue_wraps_at_any_batch_size():
    q = queues()
    before = q.keys[0].clone()
    q.enqueue(1, numbered(1, 2, 3), torch.tensor([1, 2, 3]))
    q.enqueue(1, numbered(4, 5, 6), torch.tensor([4, 5, 6]))
    assert q.keys[1, :, 0].tolist() == [5, 6, 3, 4]
    assert q.subjects[1].tolist() == [5, 6, 3, 4]
    assert q.pointers == [0, 2]
    assert torch.equal(q.keys[0], before)  # the other landmark's queue is untouched
    assert q.subjects[0].tolist() == [-1] * 4


def test_queues_start_with_unit_vectors_of_nobody():
    q = queues(size=64)
    torch.testing.assert_close(q.keys.norm(dim=2), torch.ones(2, 64))
    assert not q.same_subject(0, torch.arange(5)).any()


def test_own_keys_are_recognised():
    q = queues()
    q.enqueue(0, numbered(1, 2, 3), torch.tensor([7, 8, 7]))
    assert q.same_subject(0, torch.tensor([7, 9])).tolist() == [[True, False, True, False], [False] * 4]


def test_a_restored_queue_goes_on_in_the_same_place():
    q, restored = queues(), queues()
    q.enqueue(0, numbered(1, 2, 3), torch.tensor([1, 2, 3]))
    restored.load_state_dict(copy.deepcopy(q.state_dict()))
    for each in (q, restored):
        each.enqueue(0, numbered(4, 5), torch.tensor([4, 5]))
    assert torch.equal(q.keys, restored.keys)
    assert torch.equal(q.subjects, restored.subjects)
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
