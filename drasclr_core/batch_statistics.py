"""Batch-norm statistics of a finished encoder, of patches of all landmarks.

All patches of a batch share one landmark, and the running statistics forget all but about the last ten batches: they
are those of a few landmarks, and an encoder in evaluation mode normalises the patches of all others by them.
"""

import numpy as np
import torch
from torch import nn

from drasclr_core.bank import Bank
from drasclr_core.encoder import Encoder, normalise_hu


@torch.no_grad()
def pool_statistics(encoder: Encoder, bank: Bank, batch_size: int) -> None:
    """Replace the running statistics by their mean over one batch of plain patches of each landmark.

    Parameters
    ----------
    encoder : Encoder
        On the device where to compute; in evaluation mode afterwards.
    bank : Bank
        What it was trained on.
    batch_size : int
        Patches of each landmark, evenly spaced among the subjects that are valid there; landmarks with one or none
        are left out.
    """
    norms = [module for module in encoder.norms if isinstance(module, nn.BatchNorm3d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    encoder.train()
    for landmark, code in enumerate(torch.from_numpy(bank.grid.codes)):
        valid = np.flatnonzero(bank.valid[landmark])
        chosen = valid[np.unique(np.linspace(0, len(valid) - 1, min(batch_size, len(valid))).round().astype(int))]
        if len(chosen) > 1:
            hu = torch.from_numpy(bank.row(landmark)[chosen]).to(encoder.device)
            encoder(normalise_hu(hu)[:, None], code.to(encoder.device, torch.float32))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.eval()
