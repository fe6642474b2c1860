"""What each per-subject stage does: files in, files out, metrics returned for the record."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import STORE, check_valid, cut_patches, patch_starts, write_patches
from drasclr_core.atlas.registration import RegistrationLimits, read_transform, register_to_atlas, write_transform
from drasclr_core.base.files import CT, LUNGS, TRANSFORM
from drasclr_core.scan.densities import ct_metrics
from drasclr_core.scan.images import read_ct, read_image, resample_isotropic, write_image
from drasclr_core.scan.in_memory import ScanImage
from drasclr_core.scan.lung_images import side_values
from drasclr_core.scan.lungs import LEFT, RIGHT, lung_metrics, segment_lungmask, segment_threshold

Metrics = dict[str, Any]
Scan = str | Path | ScanImage

_SIDES = {"right": RIGHT, "left": LEFT}
_LEAST_LUNG_SHARE = 0.02  # of both lungs; less is counted as none


def ingest(scan: Scan, folder: Path, *, spacing_mm: float, axes: str) -> Metrics:
    """Write a scan's isotropic volume, ``ct.nii.gz``; return the sizes of both."""
    ct = read_ct(scan)
    isotropic = resample_isotropic(ct, spacing_mm, axes)
    write_image(isotropic, folder / CT)
    native = {"native_size": list(ct.GetSize()), "native_spacing_mm": [round(s, 6) for s in ct.GetSpacing()]}
    return {**native, "size": list(isotropic.GetSize())}


def segment(ingested: str | Path, scan: Scan, folder: Path, *, weights: Path | None, on_cpu: bool = False) -> Metrics:
    """Write the lung mask of an ingested volume, ``lungs.nii.gz`` (1 right, 2 left); return what it measures.

    `weights` are lungmask's, checked, which uses a GPU where there is one unless `on_cpu`; None segments by thresholds.
    The densities are taken from the scan itself, where interpolation has not changed the tail of the histogram.
    """
    ct = read_image(Path(ingested) / CT)
    lungs = segment_threshold(ct) if weights is None else segment_lungmask(ct, weights, on_cpu=on_cpu)
    metrics = {**lung_metrics(lungs), **ct_metrics(read_ct(scan), lungs)}
    write_image(lungs, folder / LUNGS)
    method = {"method": "threshold" if weights is None else "lungmask"}
    return {**method, **metrics, "warnings": _lung_warnings(metrics)}


def _lung_warnings(metrics: Metrics) -> list[str]:
    """Say which lung is missing, if one is; whether the other will do is decided by the registration."""
    return [
        f"the {side} lung is missing: its landmarks lie in whatever takes its place"
        for side in _SIDES
        if metrics[f"{side}_lung_l"] < _LEAST_LUNG_SHARE * metrics["lung_l"]
    ]


def register(
    segmented: str | Path, atlas: sitk.Image, folder: Path, *, spacing_mm: float, min_dice: float, seed: int
) -> Metrics:
    """Write the transform from atlas to subject, ``atlas_to_subject.mat``; return how well the lungs meet.

    A patient with a single lung is registered by it to the same lung of the atlas mask, where this tells its lungs
    apart (`lung_images.side_values`): all gates are then about this lung.
    """
    lungs = read_image(Path(segmented) / LUNGS)
    registered = "both"
    if (side := _single_lung(lungs)) and (values := side_values(sitk.GetArrayViewFromImage(atlas))):
        lungs, atlas, registered = lungs == _SIDES[side], atlas == values[side], side
    registration = register_to_atlas(
        lungs, atlas, spacing_mm=spacing_mm, seed=seed, limits=RegistrationLimits(min_dice=min_dice)
    )
    write_transform(registration, folder / TRANSFORM)
    return {**registration.metrics, "registered_lungs": registered}


def _single_lung(lungs: sitk.Image) -> str | None:
    """Return the side of a subject's only lung; None where there are two."""
    array = sitk.GetArrayViewFromImage(lungs)
    held = {side: int((array == label).sum()) for side, label in _SIDES.items()}
    present = [side for side, count in held.items() if count >= _LEAST_LUNG_SHARE * sum(held.values())]
    return present[0] if len(present) == 1 else None


def cut(
    ingested: str | Path, registered: str | Path, grid: LandmarkGrid, folder: Path, *, max_invalid_fraction: float
) -> Metrics:
    """Write the patches of a subject, ``patches.zarr``; return how many landmarks lie inside its volume."""
    ct = read_image(Path(ingested) / CT)
    starts_zyx = patch_starts(grid, read_transform(Path(registered) / TRANSFORM), ct)[:, ::-1]
    hu, valid = cut_patches(sitk.GetArrayViewFromImage(ct), starts_zyx, grid.patch_size)
    check_valid(valid, max_invalid_fraction)
    write_patches(folder / STORE, hu, np.ascontiguousarray(starts_zyx), valid)
    return {"landmarks": len(grid), "valid_landmarks": int(valid.sum())}
