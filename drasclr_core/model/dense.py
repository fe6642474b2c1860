"""Values for every place in the lung: a sliding window, conditioned on where in the atlas it lies.

Indices and arrays are (z, y, x). A window of 32 voxels has no middle voxel: the window *at* voxel v spans v - 15 to
v + 16 along each axis, and its centre is the continuous index v + 0.5. Beyond the volume it sees -1024 HU.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
from torch import Tensor

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import OUTSIDE_HU, check_volume, map_points
from drasclr_core.base.errors import InputError
from drasclr_core.model.embed_bank import BATCH, LOCATIONS
from drasclr_core.model.encoder import PATCH_SIZE, normalise_hu
from drasclr_core.model.folder import Model

logger = logging.getLogger(__name__)

BEFORE = PATCH_SIZE // 2 - 1
"""Voxels of a window before the voxel it is at."""


@dataclass(frozen=True)
class DenseValues:
    """What a sliding window found.

    Attributes
    ----------
    voxels_zyx : (M, 3) int64 array
        The voxel that each window is at (`window_voxels`).
    values : (M, C) float32 array
        Of each window.
    stride : int
        Between windows, in voxels.
    """

    voxels_zyx: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    stride: int

    def spread(self, lungs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the values as a volume, (C, Z, Y, X): each lung voxel has those of its cell's window.

        Parameters
        ----------
        lungs : (Z, Y, X) array
            Lung mask; outside of it, and in cells without a window, the volume is NaN.
        """
        cells = np.full([-(-size // self.stride) for size in lungs.shape], -1)
        cells[tuple((self.voxels_zyx // self.stride).T)] = np.arange(len(self.values))
        inside = np.nonzero(lungs)
        window = cells[tuple(index // self.stride for index in inside)]
        volume = np.full((self.values.shape[1], *lungs.shape), np.nan, np.float32)
        for channel, values in zip(volume, self.values.T, strict=True):
            channel[inside] = np.where(window >= 0, values[window], np.nan)
        return volume


def dense_values(
    model: Model,
    ct: sitk.Image,
    lungs: sitk.Image,
    transform: sitk.Transform,
    *,
    stride: int,
    block: int,
    head: Callable[[Tensor], Tensor] | None = None,
    batch: int = BATCH,
) -> DenseValues:
    """Slide a window over the lungs of one subject.

    Each window is read with the location code of its own centre, averaged over the windows of its block: the volume
    is cut into blocks of `block` voxels a side from voxel (0, 0, 0), and one mixed encoder serves all windows at
    voxels of a block. Where a block holds one window, so at `block` 1 or up to `stride`, nothing is averaged, and
    the values are those of a patch cut at a landmark there.

    Parameters
    ----------
    model : Model
        Encoder, on the device where to compute, and atlas.
    ct, lungs : SimpleITK images
        Of one subject: int16 HU at the model's spacing, and the lung mask on the same grid.
    transform : SimpleITK transform
        Affine, atlas points to subject points.
    stride : int
        Between windows, in voxels.
    block : int
        Edge of the blocks, in voxels.
    head : callable, optional
        Makes values (B, C) of features (B, D), both on the device; without it the values are the features.
    batch : int
        Windows per forward pass.

    Raises
    ------
    InputError
        If the mask is empty or on another grid, the volume does not suit the model, or a number is below 1.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, sections 2.2 and 4.
    """
    _check(model.grid, ct, lungs, stride=stride, block=block, batch=batch)
    device = model.encoder.device
    voxels = window_voxels(sitk.GetArrayViewFromImage(lungs), stride)
    owner, codes = block_codes(voxels, window_codes(voxels, ct, transform, model.grid), block)
    hu, first = _padded(sitk.GetArrayViewFromImage(ct), voxels)
    volume = normalise_hu(torch.from_numpy(hu).to(device))
    values = embed_windows(model, volume, voxels - first, owner, torch.from_numpy(codes).to(device), head, batch)
    return DenseValues(voxels, values, stride)


@torch.inference_mode()
def embed_windows(
    model: Model,
    volume: Tensor,
    starts: npt.NDArray[np.int64],
    owner: npt.NDArray[np.int64],
    codes: Tensor,
    head: Callable[[Tensor], Tensor] | None = None,
    batch: int = BATCH,
) -> npt.NDArray[np.float32]:
    """Return the values of windows, (M, C) float32.

    Parameters
    ----------
    model : Model
        Encoder, on the device where to compute.
    volume : (Z, Y, X) tensor
        Intensities scaled to [-1, 1], on the same device.
    starts : (M, 3) int64 array
        First voxel of each window.
    owner : (M,) int64 array
        Block of each window.
    codes : (G, 3) tensor
        Location code of each block, on the device.
    head, batch
        As for `dense_values`.
    """
    values: npt.NDArray[np.float32] | None = None
    done = 0
    for blocks, windows in _stacks(owner, batch):
        encoder_at = model.encoder.at(codes[blocks])
        for part in np.array_split(windows, -(-windows.size // batch)):
            patches = [
                volume[z : z + PATCH_SIZE, y : y + PATCH_SIZE, x : x + PATCH_SIZE] for z, y, x in starts[part.ravel()]
            ]
            features = encoder_at(torch.stack(patches).unflatten(0, part.shape))
            found = features.view(part.size, -1)
            found = head(found) if head else found
            if values is None:
                values = np.empty((len(starts), found.shape[1]), np.float32)
            values[part.ravel()] = found.cpu().numpy()
        if (done + len(blocks)) * 20 // len(codes) > done * 20 // len(codes):
            logger.info("dense: %d of %d blocks", done + len(blocks), len(codes))
        done += len(blocks)
    assert values is not None
    return values


def window_voxels(lungs: npt.NDArray[Any], stride: int) -> npt.NDArray[np.int64]:
    """Return the voxels at which the windows are.

    The volume is cut into cubic cells of `stride` voxels a side from voxel (0, 0, 0); a cell that holds a lung voxel
    has one window, at its voxel (stride - 1) // 2 along each axis. For an even stride the window's centre is the
    cell's, for an odd one it is half a voxel beyond. Every lung voxel is thus in a cell with a window, even where
    the window's centre is outside of the lung or, in the last cells, of the volume.

    Parameters
    ----------
    lungs : (Z, Y, X) array
        Lung mask; anything above 0 is lung.
    stride : int
        Edge of a cell.

    Returns
    -------
    (M, 3) int64 array
        In the order of the array.
    """
    cells = np.asarray(lungs) > 0
    for axis, size in enumerate(cells.shape):
        cells = np.logical_or.reduceat(cells, np.arange(0, size, stride), axis)
    return np.argwhere(cells) * stride + (stride - 1) // 2


def window_codes(
    voxels_zyx: npt.NDArray[np.int64], image: sitk.Image, transform: sitk.Transform, grid: LandmarkGrid
) -> npt.NDArray[np.float64]:
    """Return the location code of each window, (M, 3).

    It is that of a landmark whose patch would be the window: of the window's centre for ``centre``, of its first
    voxel for ``released``, brought to the atlas by the inverse transform.
    """
    to_landmark = 0.5 if grid.convention == "centre" else -BEFORE
    axes_mm = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    points_mm = (voxels_zyx[:, ::-1] + to_landmark) @ axes_mm.T + image.GetOrigin()
    return grid.code_of(map_points(transform.GetInverse(), points_mm))


def block_codes(
    voxels_zyx: npt.NDArray[np.int64], codes: npt.NDArray[np.float64], block: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return each window's block, (M,), and each block's mean code, (G, 3)."""
    places = voxels_zyx // block
    numbers = np.ravel_multi_index(tuple(places.T), tuple(places.max(axis=0) + 1))
    _, owner, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(owner, axis) for axis in codes.T], axis=1)
    return owner, (sums / counts[:, None]).astype(np.float32)


def _check(grid: LandmarkGrid, ct: sitk.Image, lungs: sitk.Image, **numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise InputError(f"{name} is {value}: a sliding window needs at least 1.")
    if ct.GetSize() != lungs.GetSize():
        raise InputError(f"The volume has {ct.GetSize()} voxels, its lung mask {lungs.GetSize()}: segment this volume.")
    for part in ("Spacing", "Origin", "Direction"):
        ours, theirs = (getattr(image, f"Get{part}")() for image in (ct, lungs))
        if not np.allclose(ours, theirs):
            raise InputError(f"{part} of the volume is {ours}, of its lung mask {theirs}: segment this volume.")
    if not sitk.GetArrayViewFromImage(lungs).any():
        raise InputError("The lung mask is empty: there is nowhere to put a window; check the segmentation.")
    check_volume(grid, ct)


def _padded(
    ct_hu: npt.NDArray[np.int16], voxels_zyx: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Return the part of the volume that windows see, -1024 HU beyond it, and the voxel of a window at its corner."""
    low, high = voxels_zyx.min(axis=0), voxels_zyx.max(axis=0)
    beyond = np.maximum(high + PATCH_SIZE - BEFORE - ct_hu.shape, 0)
    padded = np.pad(ct_hu, [(BEFORE, width) for width in beyond], constant_values=OUTSIDE_HU)
    seen = tuple(slice(begin, end + PATCH_SIZE) for begin, end in zip(low, high, strict=True))
    return np.ascontiguousarray(padded[seen]), low


def _stacks(owner: npt.NDArray[np.int64], batch: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield blocks, (m,), to be mixed together, and their windows, (n, m).

    Blocks of few windows go together, those of like numbers: their kernels are mixed by one product and their
    convolutions grouped. A block with fewer windows than its fellows repeats its last one.
    """
    counts = np.bincount(owner)
    by_block, first = np.argsort(owner, kind="stable"), np.cumsum(counts) - counts
    order = np.argsort(-counts, kind="stable")
    begin = 0
    while begin < len(order):
        most = counts[order[begin]]
        blocks = order[begin : begin + max(1, min(LOCATIONS, batch) // most)]
        begin += len(blocks)
        row = np.arange(most)[:, None]
        yield blocks, by_block[first[blocks] + np.minimum(row, counts[blocks] - 1)]
