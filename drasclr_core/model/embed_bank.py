"""From patches to features: one vector per landmark, and their mean per subject."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import zarr

from drasclr_core.atlas.bank import Bank, open_bank
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import RECORD, atomic_directory, own_sums, write_json
from drasclr_core.base.stores import WHOLE, checked_codecs
from drasclr_core.base.version import __version__
from drasclr_core.config.settings import Features
from drasclr_core.model.encoder import Encoder, normalise_hu
from drasclr_core.model.folder import load_model

logger = logging.getLogger(__name__)

BATCH = 64  # patches per forward pass: enough to share the cost of the weights, small enough for any GPU
LOCATIONS = 16  # location codes per forward pass: more of them mix no cheaper, and their kernels leave the caches


def embed_to_folder(
    bank_path: str | Path, model_folder: str | Path, folder: Path, *, features: Features, threads: int
) -> None:
    """Embed a bank and publish the features folder.

    Writes ``record.json``: the model's description, and which `features` of the encoder they are;
    ``landmarks.zarr``: `features` (N, L, D) float32, `valid` (N, L), `landmarks_mm` (L, 3), attribute
    `participant_ids`; and ``features.parquet``: participant_id, fold (-1: one embedding for all folds), f0, f1, ...

    Parameters
    ----------
    bank_path, model_folder : paths
        To read.
    folder : path
        To write.
    features : "last", "pooled" or "middle"
        As of `encoder.Encoder`.
    threads : int
        Of a computation on the CPU.

    Raises
    ------
    InputError
        If the model was trained on other landmarks, or a subject has no valid landmark.
    """
    import pandas as pd

    torch.set_num_threads(threads)
    bank, model = open_bank(bank_path), load_model(model_folder, features)
    if model.grid.to_json() != bank.grid.to_json():
        raise InputError(f"{model_folder} was trained on other landmarks than {bank_path} holds: train on this atlas.")
    encoder = model.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    count, dim = len(bank.participant_ids), encoder.output_dim
    found = np.empty((count, len(bank.grid), dim), np.float32)
    for landmark, row in enumerate(embed_bank(bank, encoder)):
        found[:, landmark] = row
        logger.info("embedded landmark %d of %d", landmark + 1, len(bank.grid))
    means = subject_features(found, bank.valid)
    frame = pd.DataFrame(means, columns=[f"f{i}" for i in range(dim)])
    frame.insert(0, "fold", -1)
    frame.insert(0, "participant_id", bank.participant_ids)
    with atomic_directory(folder) as partial:
        frame.sort_values("participant_id").to_parquet(partial / "features.parquet", index=False)
        told = {"model": model.description, "features": features, "drasclr": __version__}
        write_json(partial / RECORD, {**told, "sha256": own_sums(partial)})
        store = zarr.create_group(partial / "landmarks.zarr", attributes={"participant_ids": bank.participant_ids})
        for name, values in (("features", found), ("valid", bank.valid.T), ("landmarks_mm", bank.grid.points_mm)):
            store.create_array(name, data=np.ascontiguousarray(values), compressors=checked_codecs(), **WHOLE)


def embed_bank(bank: Bank, encoder: Encoder) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the features of all subjects, (N, D), landmark after landmark; two rows are in memory, one read ahead.

    Parameters
    ----------
    bank : Bank
        Its grid gives the location codes.
    encoder : Encoder
        In evaluation mode, on the device where to compute.
    """
    codes = torch.from_numpy(bank.grid.codes).to(encoder.device, torch.float32)
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(bank.row, 0)
        for landmark, code in enumerate(codes):
            row = following.result()
            if landmark + 1 < len(codes):
                following = reader.submit(bank.row, landmark + 1)
            yield embed_patches(row, code, encoder)


@torch.inference_mode()
def embed_patches(hu: npt.NDArray[np.int16], code: torch.Tensor, encoder: Encoder) -> npt.NDArray[np.float32]:
    """Return the features, (N, D), of patches (N, 32, 32, 32) in HU that share one location code (3,)."""
    encoder_at, device = encoder.at(code), code.device
    parts = torch.from_numpy(hu).split(BATCH)
    return torch.cat([encoder_at(normalise_hu(part.to(device))[:, None]) for part in parts]).cpu().numpy()


@torch.inference_mode()
def embed_locations(hu: npt.NDArray[np.int16], codes: torch.Tensor, encoder: Encoder) -> npt.NDArray[np.float32]:
    """Return the features, (L, D), of patches (L, 32, 32, 32) in HU that each have a location code of their own."""
    device = codes.device
    parts = zip(*(values.split(LOCATIONS) for values in (torch.from_numpy(hu), codes)), strict=True)
    features = [
        encoder.at(code)(normalise_hu(part.to(device))[None]).unflatten(1, (len(code), -1)) for part, code in parts
    ]
    return torch.cat(features, dim=1)[0].cpu().numpy()


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
