"""Densitometry of the lungs on the scan's own grid, as radiology reports it."""

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.base.errors import QualityError

_LOWEST_HU, _HIGHEST_HU = -1024, -500


def ct_metrics(ct: sitk.Image, lungs: sitk.Image) -> dict[str, float]:
    """Measure lung density.

    Interpolation changes the tail of a histogram, so `ct` is the scan as read, never the resampled one. Voxels above
    -500 HU (vessels, airway walls, the mask's own border) do not count as parenchyma.

    Parameters
    ----------
    ct : sitk.Image
        int16 HU on the scan's own grid.
    lungs : sitk.Image
        Above 0 in the lungs; brought to the grid of `ct` by nearest neighbour where it has another.

    Returns
    -------
    dict
        ``laa950_pct`` and ``laa910_pct``: share of parenchyma strictly below -950 and -910 HU, in percent (higher is
        worse); ``perc15_hu``: the lowest HU that at least 15 % of the parenchyma does not exceed;
        ``mean_lung_hu``; ``lung_volume_l``: of the whole mask, in litres.

    Raises
    ------
    QualityError
        If the mask holds no parenchyma.
    """
    hu, inside = sitk.GetArrayViewFromImage(ct), sitk.GetArrayFromImage(_on_grid(lungs, ct)) > 0
    counts = _histogram(hu, inside)
    total = int(counts.sum())
    if total == 0:
        raise QualityError(f"the lung mask holds no voxel from {_LOWEST_HU} to {_HIGHEST_HU} HU: no parenchyma.")
    values = np.arange(_LOWEST_HU, _HIGHEST_HU + 1)
    voxel_l = float(np.prod(ct.GetSpacing())) * 1e-6
    return {
        "laa950_pct": 100 * float(counts[values < -950].sum()) / total,
        "laa910_pct": 100 * float(counts[values < -910].sum()) / total,
        "perc15_hu": float(values[np.searchsorted(np.cumsum(counts), 0.15 * total)]),
        "mean_lung_hu": float(counts @ values) / total,
        "lung_volume_l": int(inside.sum()) * voxel_l,
    }


def _histogram(hu: npt.NDArray[np.int16], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    counts = np.zeros(_HIGHEST_HU - _LOWEST_HU + 1, dtype=np.int64)
    for plane, mask in zip(hu, inside, strict=True):
        values = plane[mask].astype(np.int64) - _LOWEST_HU
        counts += np.bincount(values[values < counts.size], minlength=counts.size)
    return counts


def _on_grid(lungs: sitk.Image, ct: sitk.Image) -> sitk.Image:
    if lungs.IsSameImageGeometryAs(ct, 1e-4, 1e-4):
        return lungs
    return sitk.Resample(lungs, ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
