"""What a case of the corpus is, the scan that all of them spoil, and the tools to spoil it with."""

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import SimpleITK as sitk
from volumes import array_of, image_like, saved

from drasclr_core.phantom.simulate import simulate_subject

PATIENT, ATLAS_PATIENT = "phantom-003", "phantom-001"
SPACING_MM = (4.0, 4.0, 5.0)

# How far features may be from those of the clean scan, as a share of their distance to another patient's features.
SAME = 0.0  # the same voxels: nothing is interpolated, the features are equal bit for bit
NEAR = 0.1  # the lungs keep their voxels, the registration may see another border of them
RESAMPLED = 0.5  # other voxels: a patch begins at a whole voxel of another grid, half a voxel away at most
NO_COMPARISON = float("inf")  # part of the lung is not there any more


@dataclass(frozen=True)
class Case:
    """One way in which a scan differs from the clean one; `make` writes it into an empty folder, returns its path.

    It is accepted with features within `tolerance`, and `warning` in its record; or, where `reason` is given, excluded
    by `stage` with a reason that matches this pattern and no other case's.
    """

    title: str
    make: Callable[[Path], Path]
    tolerance: float = SAME
    warning: str = ""
    reason: str = ""
    stage: str = "ingest"


@cache
def phantom(slice_mm=SPACING_MM[2], patient=PATIENT):
    """Return a simulated patient: `ct` int16 HU, axes LPS, and its true `lungs` (1 right, 2 left)."""
    return simulate_subject(patient, 0, (*SPACING_MM[:2], slice_mm))


def clean_ct():
    """Return the scan that the cases spoil."""
    return phantom().ct


def clean_lungs():
    """Return its lungs, (z, y, x) uint8: 1 right, 2 left."""
    return array_of(phantom().lungs)


def file_of(change=lambda ct: ct, name="scan.nii.gz", compress=True):
    """Return what writes the changed clean scan to a file."""
    return lambda folder: saved(change(clean_ct()), folder / name, compress)


def bytes_of(change, name="scan.nii.gz", written="scan.nii.gz"):
    """Return what writes the clean scan, and then the changed content of that file to `name`."""

    def make(folder):
        path = saved(clean_ct(), folder / written)
        content = path.read_bytes()
        path.unlink()
        (folder / name).write_bytes(change(content))
        return folder / name

    return make


def header_of(place, form, *values):
    """Return what writes the clean scan as NIfTI with other values in its header."""

    def change(content):
        header = bytearray(gzip.decompress(content))
        struct.pack_into(form, header, place, *values)
        return gzip.compress(bytes(header), 1, mtime=0)

    return bytes_of(change)


def with_values(change):
    """Return the function of an image whose array (z, y, x) is changed, its geometry kept."""
    return lambda ct: image_like(ct, change(array_of(ct)))


def with_geometry(**changes):
    """Return the function of an image whose Spacing, Origin or Direction is changed, its array kept."""
    return lambda ct: image_like(ct, array_of(ct), **changes)


def turned_grid(ct, direction):
    """Return the scan on a grid whose axes are turned about the centre; the patient stays where it lies."""
    centre = [(count - 1) / 2 for count in ct.GetSize()]
    target = image_like(ct, array_of(ct), Direction=direction)
    ahead = zip(
        ct.TransformContinuousIndexToPhysicalPoint(centre),
        target.TransformContinuousIndexToPhysicalPoint(centre),
        ct.GetOrigin(),
        strict=True,
    )
    target.SetOrigin([origin + there - here for there, here, origin in ahead])
    return sitk.Resample(ct, target, sitk.Transform(), sitk.sitkBSpline, -1000, sitk.sitkInt16)
