"""Batch-norm statistics of a finished encoder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_bank import SETTINGS, toy_bank

from drasclr_core.batch_statistics import pool_statistics
from drasclr_core.encoder import normalise_hu
from drasclr_core.training import initial_encoder, pretrain


def plain_statistics(encoder, bank, subjects):
    """Return the mean and the variance of each channel behind the first two convolutions, averaged over landmarks."""
    first, second = [], []
    for landmark, code in enumerate(torch.from_numpy(bank.grid.codes).float()):
        x = normalise_hu(torch.from_numpy(bank.row(landmark)[subjects[landmark]]))[:, None]
        for conv, norm, found in zip(encoder.convs, encoder.norms, (first, second), strict=False):
            x = conv(x, code)
            found.append((x.mean(dim=(0, 2, 3, 4)), x.var(dim=(0, 2, 3, 4))))
            shape = (1, -1, 1, 1, 1)
            scaled = (x - x.mean(dim=(0, 2, 3, 4)).view(shape)) / (
                x.var(dim=(0, 2, 3, 4), unbiased=False).view(shape) + norm.eps
            ).sqrt()
            x = torch.nn.functional.elu(scaled * norm.weight.view(shape) + norm.bias.view(shape))
    return [[torch.stack(values).mean(0) for values in zip(*found, strict=True)] for found in (first, second)]


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [4, 100])
def test_they_are_the_mean_over_all_landmarks(batch_size):
    bank, encoder = toy_bank(), initial_encoder(SETTINGS)
    bank.valid[1, :4] = False
    subjects = []
    for valid in map(np.flatnonzero, bank.valid):
        places = np.linspace(0, len(valid) - 1, batch_size) if batch_size < len(valid) else range(len(valid))
        subjects.append(valid[np.round(places).astype(int)])
    expected = plain_statistics(encoder, bank, subjects)
    momenta = [norm.momentum for norm in encoder.norms]
    pool_statistics(encoder, bank, batch_size)
    for norm, (mean, variance) in zip(encoder.norms, expected, strict=False):
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-5)
    assert not encoder.training
    assert [norm.momentum for norm in encoder.norms] == momenta


def test_a_landmark_with_one_patch_is_left_out():
    bank, encoder, other = toy_bank(), initial_encoder(SETTINGS), initial_encoder(SETTINGS)
    bank.valid[2] = np.arange(len(bank.participant_ids)) == 3
    pool_statistics(encoder, bank, 4)
    bank.valid[2] = False
    pool_statistics(other, bank, 4)
    assert torch.equal(encoder.norms[0].running_mean, other.norms[0].running_mean)


def test_a_training_ends_with_them_and_moves_no_weight(tmp_path):
    settings = replace(SETTINGS, epochs=1)
    running = pretrain(toy_bank(), settings, tmp_path / "running")[0]
    pooled = pretrain(toy_bank(), replace(settings, final_statistics="pooled"), tmp_path / "pooled")[0]
    for ours, theirs in zip(pooled.parameters(), running.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    pool_statistics(running, toy_bank(), settings.batch_size)
    assert torch.equal(pooled.norms[-1].running_var, running.norms[-1].running_var)
