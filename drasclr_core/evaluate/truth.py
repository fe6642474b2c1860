"""How much of each patch of a phantom is truly diseased: the truth mask seen through the patches' voxels."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.patches import STORE, cut_patches, open_patches
from drasclr_core.base.files import CT, read_json, read_record, undamaged, write_json
from drasclr_core.phantom.labels import DISEASES
from drasclr_core.scan.images import read_image

COUNTS = "disease.json"

MIN_LUNG_FRACTION = 0.05
"""Share of a patch's voxels that must be lung for its disease fraction to be used: of less, it is mostly noise."""

EMPHYSEMA = "emphysema"
TARGETS = {EMPHYSEMA: ("centrilobular", "paraseptal", "panlobular"), **{name: (name,) for name in DISEASES}}
"""Name of a fraction -> the diseases that it sums."""


@dataclass(frozen=True)
class PatchDisease:
    """The true lung and disease inside the L patches of one subject.

    Attributes
    ----------
    patch_voxels : int
        Voxels of a patch, P^3.
    valid : (L,) bool array
        Whether the patch's centre lies inside the scan.
    lung_voxels : (L,) int64 array
        Voxels of true lung, diseased or not.
    diseased_voxels : mapping of str to (L,) int64 array
        Disease of `DISEASES` -> voxels of the lung that have it.
    """

    patch_voxels: int
    valid: npt.NDArray[np.bool_]
    lung_voxels: npt.NDArray[np.int64]
    diseased_voxels: dict[str, npt.NDArray[np.int64]]

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Which patches have a fraction, (L,): the valid ones with at least `MIN_LUNG_FRACTION` of lung."""
        return self.valid & (self.lung_voxels >= MIN_LUNG_FRACTION * self.patch_voxels)

    def fraction(self, target: str) -> npt.NDArray[np.float64]:
        """Return diseased voxels / lung voxels of each patch, (L,), 0 to 1; NaN where it is not `measured`.

        Parameters
        ----------
        target : str
            One of `TARGETS`.
        """
        diseased = np.sum([self.diseased_voxels[name] for name in TARGETS[target]], axis=0)
        fraction = np.full(len(diseased), np.nan)
        return np.divide(diseased, self.lung_voxels, out=fraction, where=self.measured)


def measure_disease(phantom: str | Path, ingested: str | Path, patches: str | Path, folder: Path) -> dict[str, Any]:
    """Write the true lung and disease of a phantom's patches, ``disease.json``; return how many were measured.

    Parameters
    ----------
    phantom, ingested, patches : paths
        Folders of the stages: truth and lungs on the scan's grid; the isotropic volume; the patches' places in it.
    folder : path
        To write to.
    """
    disease = patch_disease(phantom, ingested, patches)
    write_json(folder / COUNTS, _to_json(disease))
    return {"landmarks": len(disease.valid), "measured_landmarks": int(disease.measured.sum())}


def patch_disease(phantom: str | Path, ingested: str | Path, patches: str | Path) -> PatchDisease:
    """Return the true lung and disease of a phantom's patches; the folders are those of `measure_disease`."""
    truth, lungs = (read_image(Path(phantom) / f"{name}.nii.gz") for name in ("truth", "lungs"))
    store = open_patches(Path(patches) / STORE)
    starts_zyx, valid, edge = store["index_zyx"][:], store["valid"][:], store["hu"].shape[1]
    counts = label_counts(truth, lungs, read_image(Path(ingested) / CT), starts_zyx, edge)
    diseased = dict(zip(DISEASES, counts[:, 1:].T, strict=True))
    return PatchDisease(edge**3, valid, counts.sum(axis=1), diseased)


def label_counts(
    truth: sitk.Image, lungs: sitk.Image, volume: sitk.Image, starts_zyx: npt.NDArray[np.int64], patch_size: int
) -> npt.NDArray[np.int64]:
    """Count the true labels of the lung voxels of each patch.

    Parameters
    ----------
    truth : sitk.Image
        Labels of the scan's own grid: 0 none, else 1 + position in `DISEASES`.
    lungs : sitk.Image
        The true lungs on the same grid, above 0.
    volume : sitk.Image
        The volume that the patches were cut from; only its geometry is used. Each of its voxels takes the label of the
        nearest voxel of the scan.
    starts_zyx : (L, 3) int64 array
        Index (z, y, x) of each patch's first voxel in `volume`, inside it or not.
    patch_size : int
        Edge in voxels.

    Returns
    -------
    (L, 1 + len(DISEASES)) int64 array
        Lung voxels without disease, then with each of `DISEASES`; a row sums to the patch's lung voxels.
    """
    in_lung = sitk.Mask(sitk.Cast(truth, sitk.sitkInt16) + 1, lungs > 0)
    seen = sitk.Resample(in_lung, volume, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    labels, _ = cut_patches(sitk.GetArrayViewFromImage(seen), starts_zyx, patch_size)
    wanted = range(1, len(DISEASES) + 2)  # what is no lung is 0, and what lies outside the volume below 0
    return np.stack([np.count_nonzero(labels == label, axis=(1, 2, 3)) for label in wanted], axis=1)


def read_disease(folder: str | Path) -> PatchDisease:
    """Return what `measure_disease` wrote to a folder."""
    content = read_json(undamaged(Path(folder) / COUNTS))
    return PatchDisease(
        patch_voxels=content["patch_voxels"],
        valid=np.array(content["valid"], bool),
        lung_voxels=np.array(content["lung_voxels"], np.int64),
        diseased_voxels={name: np.array(content["diseased_voxels"][name], np.int64) for name in DISEASES},
    )


def read_cohort(folders: Iterable[str | Path]) -> dict[str, PatchDisease]:
    """Return participant id -> true disease from the folders of all participants; the excluded are absent."""
    records = {folder: read_record(folder) for folder in folders}
    return {record.participant_id: read_disease(folder) for folder, record in records.items() if not record.excluded}


def _to_json(disease: PatchDisease) -> dict[str, Any]:
    return {
        "patch_voxels": disease.patch_voxels,
        "valid": disease.valid.tolist(),
        "lung_voxels": disease.lung_voxels.tolist(),
        "diseased_voxels": {name: voxels.tolist() for name, voxels in disease.diseased_voxels.items()},
    }
