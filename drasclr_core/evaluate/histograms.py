"""What a patch shows without any learning: how its voxels' HU are distributed, at one or at several scales.

The obvious comparator of learnt features: emphysema and ground glass are densities, and a histogram knows no shape.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

HU_MIN, HU_MAX = -1024, 240
"""What the encoder sees of HU, and the range of the bins."""
BINS = 30


def patch_histograms(patches_hu: npt.NDArray[np.int16], bins: int = BINS, scales: int = 1) -> npt.NDArray[np.float32]:
    """Return the intensity histogram of each patch, and of its means over 2, 4, ... voxels cubed.

    Parameters
    ----------
    patches_hu : (n, P, P, P) int16 array
        In HU; 2^(scales - 1) divides P.
    bins : int
        Of equal width from -1024 to 240 HU; what lies beyond is clipped, before any mean is taken.
    scales : int
        1: of the voxels alone; each further scale takes means over cubes twice as wide, without overlap.

    Returns
    -------
    (n, scales * bins) float32 array
        Shares of a patch's voxels, or cubes; those of each scale, finest first, sum to 1.
    """
    histograms = np.empty((len(patches_hu), scales, bins), dtype=np.float32)
    for rows, patch in zip(histograms, patches_hu, strict=True):
        # Sums in place of means: whole numbers fall into the same bin on every machine.
        sums = np.clip(patch, HU_MIN, HU_MAX).astype(np.int32) - HU_MIN
        for scale, row in enumerate(rows):
            sums = _sums_of_pairs(sums) if scale else sums
            place = np.minimum(sums.ravel() * bins // (8**scale * (HU_MAX - HU_MIN)), bins - 1)
            row[:] = np.bincount(place, minlength=bins) / sums.size
    return histograms.reshape(-1, scales * bins)


def root_histograms(patches_hu: npt.NDArray[np.int16], scales: int = 1) -> npt.NDArray[np.float32]:
    """Return the square roots of `patch_histograms`, (n, scales * BINS) float32: what a linear readout reads best.

    The Euclidean distance of two roots is the Hellinger distance of the histograms: a bin that few voxels reach counts
    as much as a full one. Of a patch's emphysema they tell clearly more than the shares themselves (docs/learning.md),
    and a comparator is to be as strong as it can be.
    """
    return np.sqrt(patch_histograms(patches_hu, scales=scales))


HISTOGRAMS: dict[str, Callable[[npt.NDArray[np.int16]], npt.NDArray[np.float32]]] = {
    "histogram": root_histograms,
    "histogram3": partial(root_histograms, scales=3),
}
"""The comparators by name: 30 numbers of the patch, or 90 with its means over 2 and over 4 voxels."""


def _sums_of_pairs(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the sums over cubes of 2 x 2 x 2 voxels."""
    slabs = values[::2] + values[1::2]
    beams = slabs[:, ::2] + slabs[:, 1::2]
    return beams[..., ::2] + beams[..., 1::2]
