"""A coronal slice of a phantom: its true disease, and which patch each place of the lungs lies nearest to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.patches import STORE, open_patches
from drasclr_core.base.files import CT
from drasclr_core.evaluate.truth import TARGETS
from drasclr_core.phantom.labels import DISEASES
from drasclr_core.scan.images import read_image, to_canonical

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CoronalSlice:
    """One slice, seen from the front: rows from feet to head, columns from the patient's right to the left.

    Attributes
    ----------
    ct_hu : (Z, X) int16 array
    lungs, diseased : (Z, X) bool arrays
        The truth; `diseased` lies in the lungs.
    patch : (Z, X) int64 array
        Index of the patch whose centre is nearest.
    y_mm : float
        Where it is, LPS.
    """

    ct_hu: npt.NDArray[np.int16]
    lungs: Mask
    diseased: Mask
    patch: npt.NDArray[np.int64]
    y_mm: float


def most_diseased_slice(
    phantom: str | Path, ingested: str | Path, patches: str | Path, measured: Mask, target: str
) -> CoronalSlice:
    """Return the coronal slice that holds most true disease.

    Parameters
    ----------
    phantom, ingested, patches : paths
        Folders of the stages: truth and lungs on the scan's grid; the isotropic volume; the patches' places in it.
    measured : (L,) bool array
        The patches that a place may belong to.
    target : str
        One of `drasclr_core.evaluate.truth.TARGETS`.
    """
    volume = read_image(Path(ingested) / CT)
    store = open_patches(Path(patches) / STORE)
    middle = (store["hu"].shape[1] - 1) / 2
    centres_mm = [
        volume.TransformContinuousIndexToPhysicalPoint([float(place) + middle for place in start[::-1]])
        for start in store["index_zyx"][:][measured]
    ]
    ct = to_canonical(volume)
    centres = (np.array(centres_mm) - ct.GetOrigin()) / ct.GetSpacing()  # the axes are x, y, z
    lungs, truth = (_on_grid(Path(phantom) / f"{name}.nii.gz", ct) for name in ("lungs", "truth"))
    diseased = np.isin(truth, [1 + DISEASES.index(name) for name in TARGETS[target]]) & (lungs > 0)
    row = int(diseased.sum(axis=(0, 2)).argmax())
    ct_hu = sitk.GetArrayFromImage(ct)[:, row]
    z, x = np.indices(ct_hu.shape)
    places = np.stack([x, np.full_like(x, row), z], axis=-1)
    nearest = ((places[:, :, None] - centres) ** 2).sum(axis=-1).argmin(axis=-1)
    return CoronalSlice(
        ct_hu,
        lungs[:, row] > 0,
        diseased[:, row],
        np.flatnonzero(measured)[nearest],
        float(ct.GetOrigin()[1] + row * ct.GetSpacing()[1]),
    )


def _on_grid(path: Path, grid: sitk.Image) -> npt.NDArray[Any]:
    """Return a label image's nearest label at each voxel of a grid, (Z, Y, X)."""
    return sitk.GetArrayFromImage(sitk.Resample(read_image(path), grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
