"""What windows at the voxels of a box see: features of an encoder, or what needs none.

Arrays are (z, y, x). Window (0, 0, 0) of a box is the one at its first voxel; see `box_patches`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from drasclr_core.detect.patches import BoxPatches
from drasclr_core.evaluate.histograms import root_histograms
from drasclr_core.model.dense import block_codes, embed_windows
from drasclr_core.model.encoder import PATCH_SIZE, normalise_hu
from drasclr_core.model.folder import Model

LOW_ATTENUATION_HU = -950
_AT_ONCE = 64  # surroundings on the device


@dataclass(frozen=True)
class BoxGrid:
    """Windows that stand for the voxels of a box.

    Attributes
    ----------
    voxels : (K, 3) int64 array
        The voxel that each window is at, 0 to w - 1.
    weights : (K,) float64 array
        Share of the box's voxels that the window stands for; they sum to 1.
    """

    voxels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    @classmethod
    def centre(cls, patches: BoxPatches) -> "BoxGrid":
        """Return the one window that is the patch itself."""
        return cls(np.full((1, 3), patches.centre), np.ones(1))

    @classmethod
    def cells(cls, box: int, stride: int) -> "BoxGrid":
        """Return one window per cell of `stride` voxels a side; the last cells are cut off where the box ends."""
        begins = np.arange(0, box, stride)
        along = np.minimum(begins + (stride - 1) // 2, box - 1)
        sizes = np.minimum(begins + stride, box) - begins
        voxels = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(-1, 3)
        weights = (sizes[:, None, None] * sizes[:, None] * sizes).ravel() / box**3
        return cls(voxels, weights)


def model_values(
    model: Model,
    patches: BoxPatches,
    windows: BoxGrid,
    block: int = 1,
    head: Callable[[Tensor], Tensor] | None = None,
    codes: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the features of windows, or what a head makes of them.

    Parameters
    ----------
    model : Model
        Encoder, in evaluation mode, on the device where to compute.
    patches : BoxPatches
        M of them.
    windows : BoxGrid
        K of each box.
    block : int
        Edge, in voxels, of the blocks whose windows share their mean location code, as for `dense.dense_values`.
    head : callable, optional
        Makes values (B, C) of features (B, D).
    codes : (M, 3) array, optional
        Location codes to use instead of the windows' own, one per patch.

    Returns
    -------
    (M, K, C) float32 array
    """
    owner, shifts = block_codes(windows.voxels, (windows.voxels - patches.centre).astype(np.float64), block)
    values = []
    for begin in range(0, len(patches), _AT_ONCE):
        part = patches.take(np.arange(begin, min(begin + _AT_ONCE, len(patches))))
        own = part.codes[:, None] + np.einsum("gi,mij->mgj", shifts, part.code_steps)
        if codes is not None:
            own = np.repeat(codes[begin : begin + _AT_ONCE, None], len(shifts), axis=1)
        values.append(_part_values(model, part, windows, owner, own, head))
    return np.concatenate(values)


def plain_values(method: str, patches: BoxPatches, windows: BoxGrid, **params: Any) -> npt.NDArray[np.float32]:
    """Return what windows show without an encoder, (M, K, C).

    Parameters
    ----------
    method : str
        One of `boxes.WITHOUT_ENCODER`: "laa950", the share of low attenuation; "no_image", where the window is and
        nothing else; "histogram", that of its HU.
    patches : BoxPatches
        M of them.
    windows : BoxGrid
        K of each box.
    **params
        The run's; of the histogram its ``scales``.
    """
    return _PLAIN[method](patches, windows, **params)


def values_of_run(
    model: Model | None, name: str, params: Mapping[str, Any], block: int = 1
) -> Callable[[BoxPatches, BoxGrid], npt.NDArray[np.float32]]:
    """Return `model_values` of a run's model, or, without one, `plain_values` of its method and parameters."""
    if model is None:
        return partial(plain_values, name, **params)
    return partial(model_values, model, block=block)


def low_attenuation(patches: BoxPatches, windows: BoxGrid) -> npt.NDArray[np.float32]:
    """Return the share of each window's lung voxels below -950 HU, (M, K, 1); 0 where it holds no lung."""
    lung = patches.lungs > 0
    low = lung & (patches.hu < LOW_ATTENUATION_HU)
    counts = [np.stack([seen.sum(axis=(1, 2, 3)) for seen in _seen(mask, windows)], axis=1) for mask in (low, lung)]
    return (counts[0] / np.maximum(counts[1], 1))[..., None].astype(np.float32)


def window_locations(patches: BoxPatches, windows: BoxGrid) -> npt.NDArray[np.float32]:
    """Return the location code of each window, (M, K, 3)."""
    steps = np.einsum("ki,mij->mkj", windows.voxels - patches.centre, patches.code_steps)
    return (patches.codes[:, None] + steps).astype(np.float32)


def window_histograms(patches: BoxPatches, windows: BoxGrid, scales: int = 1) -> npt.NDArray[np.float32]:
    """Return the HU histograms of each window, (M, K, scales * 30): `histograms.root_histograms`."""
    return np.stack([root_histograms(seen, scales=scales) for seen in _seen(patches.hu, windows)], axis=1)


_PLAIN: dict[str, Callable[..., npt.NDArray[np.float32]]] = {
    "laa950": low_attenuation,
    "no_image": window_locations,
    "histogram": window_histograms,
}


def _part_values(
    model: Model,
    part: BoxPatches,
    windows: BoxGrid,
    owner: npt.NDArray[np.int64],
    codes: npt.NDArray[np.float64],
    head: Callable[[Tensor], Tensor] | None,
) -> npt.NDArray[np.float32]:
    """Return the values of the windows; `codes` are those of the G blocks of each patch, (M, G, 3)."""
    device = model.encoder.device
    # The surroundings stand one upon the other: one volume, one pass.
    volume = normalise_hu(torch.from_numpy(np.ascontiguousarray(part.hu)).to(device)).flatten(0, 1)
    patch = np.arange(len(part))[:, None]
    starts = np.broadcast_to(windows.voxels, (len(part), *windows.voxels.shape)).copy()
    starts[..., 0] += patch * part.hu.shape[1]
    owners = patch * codes.shape[1] + owner
    blocks = torch.from_numpy(codes.reshape(-1, 3)).to(device, torch.float32)
    found = embed_windows(model, volume, starts.reshape(-1, 3), owners.ravel(), blocks, head)
    return found.reshape(len(part), len(windows.voxels), -1)


def _seen(volumes: npt.NDArray[Any], windows: BoxGrid) -> Iterator[npt.NDArray[Any]]:
    """Yield what each window sees of all volumes (M, C, C, C): a view, (M, 32, 32, 32)."""
    for z, y, x in windows.voxels:
        yield volumes[:, z : z + PATCH_SIZE, y : y + PATCH_SIZE, x : x + PATCH_SIZE]
