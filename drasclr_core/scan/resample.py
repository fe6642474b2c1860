"""Resample a volume onto a grid with parallel axes: one small matrix per axis, applied slab by slab."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

FloatArray = npt.NDArray[np.floating]

_POLE = np.sqrt(3.0) - 2.0  # of the cubic B-spline's direct transform
_REACH = 14  # |pole| ** 14 = 1e-8: beyond it a sample no longer counts


def cubic_spline_weights(size: int, positions: FloatArray) -> npt.NDArray[np.float32]:
    """Return the matrix that evaluates the interpolating cubic B-spline of `size` samples.

    Parameters
    ----------
    size : int
        Number of samples, at indices 0 to `size` - 1, continued by mirroring about the first and last (as ITK does).
    positions : (M,) array
        Where to evaluate, as continuous index.

    Returns
    -------
    (M, size) float32 array
        Rows sum to 1; banded, `_REACH` samples to either side.

    References
    ----------
    Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine 1999.
    """
    columns = np.floor(positions).astype(np.int64)[:, None] + np.arange(1 - _REACH, _REACH + 1)
    return _scatter(size, columns, _cardinal_spline(positions[:, None] - columns))


def triangle_weights(size: int, positions: FloatArray, width: float) -> npt.NDArray[np.float32]:
    """Return the matrix that averages `size` samples under triangles of half-width `width` samples.

    Width 1 is linear interpolation; width r is the smoothing wanted before taking every r-th sample.

    Parameters
    ----------
    size : int
        Number of samples; beyond the ends the outermost sample is repeated.
    positions : (M,) array
        Centres of the triangles, as continuous index.
    width : float
        At least 1.

    Returns
    -------
    (M, size) float32 array
        Rows sum to 1.
    """
    reach = int(np.ceil(width))
    columns = np.floor(positions).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
    values = np.maximum(0.0, 1.0 - np.abs(positions[:, None] - columns) / width)
    return _scatter(size, np.clip(columns, 0, size - 1), values / values.sum(axis=1, keepdims=True))


def resample_slabs(
    volume: npt.NDArray[np.generic], weights: tuple[FloatArray, FloatArray, FloatArray], slab: int = 48
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yield `volume` resampled along its three axes, some output slices at a time.

    On one thread: on several BLAS adds in another order, which moves a voxel that is rounded afterwards by 1 HU here
    and there, with it now and then the lungs' border by a voxel, the transform, and so a patch.

    Parameters
    ----------
    volume : (Z, Y, X) array
        Any real type; only the slices that a slab needs are converted to float32.
    weights : three arrays, (Z', Z), (Y', Y), (X', X)
        One matrix per axis, banded along z.
    slab : int
        Output slices at a time: memory grows with it.

    Yields
    ------
    slice, (n, Y', X') float32 array
        The output slices and their values.
    """
    weights_z, weights_y, weights_x = weights
    for start in range(0, len(weights_z), slab):
        rows = slice(start, min(start + slab, len(weights_z)))
        used = np.flatnonzero(np.abs(weights_z[rows]).max(axis=0))
        columns = slice(used[0], used[-1] + 1)
        with threadpool_limits(limits=1, user_api="blas"):
            block = volume[columns].astype(np.float32) @ weights_x.T
            block = weights_y @ block
            resampled = np.tensordot(weights_z[rows, columns], block, axes=1)
        yield rows, resampled


def _scatter(size: int, columns: npt.NDArray[np.int64], values: FloatArray) -> npt.NDArray[np.float32]:
    weights = np.zeros((len(columns), size))
    rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
    np.add.at(weights, (rows, _mirror(columns, size)), values)
    return weights.astype(np.float32)


def _mirror(index: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    period = max(2 * size - 2, 1)
    index = np.abs(index) % period
    return np.minimum(index, period - index) if size > 1 else np.zeros_like(index)


def _cardinal_spline(offset: FloatArray) -> FloatArray:
    """Return the spline that is 1 at 0 and 0 at every other integer."""
    gain = -6 * _POLE / (1 - _POLE**2)
    total = np.zeros_like(offset)
    for shift in range(-_REACH - 2, _REACH + 3):
        total += gain * _POLE ** abs(shift) * _cubic_b_spline(offset - shift)
    return total


def _cubic_b_spline(offset: FloatArray) -> FloatArray:
    distance = np.abs(offset)
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far)
