"""From patches to features: one vector per landmark, and their mean per subject."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from drasclr_core.bank import Bank
from drasclr_core.encoder import Encoder, normalise_hu
from drasclr_core.errors import InputError

BATCH = 64  # patches per forward pass: large enough to fill the cores, small enough for any GPU


def embed_bank(bank: Bank, encoder: Encoder, device: torch.device) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the features of all subjects, (N, D), landmark after landmark.

    Parameters
    ----------
    bank : Bank
        Its grid gives the location codes.
    encoder : Encoder
        In evaluation mode.
    device : torch.device
        Where to compute.
    """
    encoder = encoder.to(device)
    codes = torch.from_numpy(bank.grid.codes).to(device, torch.float32)
    for landmark, code in enumerate(codes):
        yield embed_patches(bank.row(landmark), code, encoder)


@torch.inference_mode()
def embed_patches(hu: npt.NDArray[np.int16], code: torch.Tensor, encoder: Encoder) -> npt.NDArray[np.float32]:
    """Return the features, (N, D), of patches (N, 32, 32, 32) in HU that share one location code (3,)."""
    parts = [encoder(normalise_hu(part.to(code.device))[:, None], code) for part in torch.from_numpy(hu).split(BATCH)]
    return torch.cat(parts).cpu().numpy()


def subject_features(features: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the mean feature of each subject over its valid landmarks.

    Parameters
    ----------
    features : (N, L, D) float32 array
        Of every subject at every landmark.
    valid : (L, N) bool array
        Whether the patch centre lies inside the subject's volume.

    Returns
    -------
    (N, D) float32 array

    Raises
    ------
    InputError
        If a subject has no valid landmark.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 2.5, equation 11.
    """
    weight = valid.T.astype(np.float64)
    if not weight.any(axis=1).all():
        raise InputError(f"Subjects {np.flatnonzero(~weight.any(axis=1)).tolist()} of the bank have no valid landmark.")
    return (np.einsum("nld,nl->nd", features, weight) / weight.sum(axis=1, keepdims=True)).astype(np.float32)
