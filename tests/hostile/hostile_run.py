"""Run a scan through the whole preprocessing, as the workflow's jobs do, and say what became of it."""

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import SimpleITK as sitk
import torch
from hostile_case import ATLAS_PATIENT, clean_ct, phantom
from volumes import array_of, saved

from drasclr_core.atlas.atlas import write_landmarks
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import STORE, open_patches
from drasclr_core.atlas.registration import read_transform
from drasclr_core.atlas.stages import cut, ingest, register, segment
from drasclr_core.base.files import CT, LUNGS, TRANSFORM, read_json, run_subject_stage
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.embed_bank import embed_locations
from drasclr_core.train.loop import initial_encoder

SPACING_MM = 5.0
NOBODY = 65534


@dataclass(frozen=True)
class Outcome:
    """Where a scan was excluded and why, or its features (L, D); `same_voxels`: as the clean scan once resampled.

    `transform` maps atlas points to the scan's.
    """

    excluded_by: str
    reason: str
    warnings: list
    features: np.ndarray | None
    same_voxels: bool = False
    transform: sitk.Transform | None = None


class Preprocessing:
    """The stages from a scan to features, on an atlas made from another phantom.

    Stages after the first see nothing of a scan but its resampled volume, and are deterministic: a volume with the
    clean scan's very voxels and geometry has its features, and is not taken through them again.
    """

    def __init__(self, folder):
        self.folder = folder

    @cached_property
    def clean(self):
        """The outcome of the clean scan."""
        return self._finish(self._clean_scan, self.folder / "clean")

    @cached_property
    def other(self):
        """The outcome of the other patient's scan."""
        return self._finish(self._atlas_scan, self.folder / "other")

    def run(self, scan, folder):
        """Return the outcome of a scan; the stages' folders appear in `folder`."""
        record = self._ingest(scan, folder)
        if record.excluded:
            return Outcome(record.excluded_by, record.reason, [], None)
        if _digest(folder / "ingest" / CT) == self._clean_digest:
            return replace(self.clean, same_voxels=True)
        return self._finish(scan, folder)

    def deviation(self, outcome):
        """Return how far features are from the clean scan's, as a share of the distance to another patient's."""
        distance = np.linalg.norm(outcome.features - self.clean.features)
        return float(distance / np.linalg.norm(self.other.features - self.clean.features))

    @cached_property
    def _clean_scan(self):
        return saved(clean_ct(), self.folder / "clean.nii.gz")

    @cached_property
    def _clean_digest(self):
        self._ingest(self._clean_scan, self.folder / "clean-volume")
        return _digest(self.folder / "clean-volume" / "ingest" / CT)

    @cached_property
    def _atlas_scan(self):
        return saved(phantom(patient=ATLAS_PATIENT).ct, self.folder / "atlas.nii.gz")

    @cached_property
    def _atlas_mask(self):
        """The path of the atlas: the other patient's lungs."""
        self._ingest(self._atlas_scan, self.folder / "atlas")
        segment(self.folder / "atlas" / "ingest", self._atlas_scan, self.folder / "atlas", weights=None)
        return self.folder / "atlas" / LUNGS

    @cached_property
    def _landmarks(self):
        """The path of the landmark grid."""
        path, mask = self.folder / "landmarks.json", sitk.ReadImage(str(self._atlas_mask))
        write_landmarks(mask, path, step=20, min_lung_fraction=0.1, neighbours=2, convention="centre")
        return path

    @cached_property
    def grid(self):
        """The landmarks."""
        return LandmarkGrid.from_json(read_json(self._landmarks))

    def lung_points_mm(self, label):
        """Return some hundred points in a lung of the atlas, 1 right, 2 left: (P, 3)."""
        mask = sitk.ReadImage(str(self._atlas_mask))
        voxels = np.argwhere(array_of(mask) == label)[:, ::-1]
        points = [mask.TransformIndexToPhysicalPoint(voxel) for voxel in voxels[:: len(voxels) // 300].tolist()]
        return np.array(points)

    @cached_property
    def _encoder(self):
        return initial_encoder(PretrainSettings(feature_dim=16, num_experts=2, seed=0)).eval()

    def _ingest(self, scan, folder):
        work = partial(ingest, scan, spacing_mm=SPACING_MM, axes="LPS")
        return run_subject_stage(folder / "ingest", "ingest", "case", [], work)

    def _finish(self, scan, folder):
        """Take a scan through all stages and the encoder."""
        ingested, segmented, registered, patches = (
            folder / stage for stage in ("ingest", "segment", "register", "patches")
        )
        limits = {"spacing_mm": 8.0, "min_dice": 0.8, "seed": 0}
        works = {
            segmented: partial(segment, ingested, scan, weights=None),
            registered: partial(register, segmented, sitk.ReadImage(str(self._atlas_mask)), **limits),
            patches: partial(cut, ingested, registered, self.grid, max_invalid_fraction=0.2),
        }
        records = [self._ingest(scan, folder)]
        for stage, work in works.items():
            upstream = [folder / records[-1].stage]
            records.append(run_subject_stage(stage, stage.name, "case", upstream, work))
        warnings = [told for record in records for told in record.metrics.get("warnings", [])]
        if records[-1].excluded:
            return Outcome(records[-1].excluded_by, records[-1].reason, warnings, None)
        hu = open_patches(patches / STORE)["hu"][:]
        features = embed_locations(hu, torch.from_numpy(self.grid.codes).float(), self._encoder)
        return Outcome("", "", warnings, features, transform=read_transform(registered / TRANSFORM))


def _digest(path):
    image = sitk.ReadImage(str(path))
    geometry = np.round([*image.GetOrigin(), *image.GetSpacing(), *image.GetDirection()], 3).tobytes()
    return hashlib.sha256(array_of(image).tobytes() + geometry).hexdigest()


@contextmanager
def ordinary_user():
    """Give up root's right to read everything, where tests run as root."""
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(NOBODY)
        yield
    finally:
        if root:
            os.seteuid(0)
