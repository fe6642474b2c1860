"""How well and how cheaply known affines of the published atlas mask are recovered.

    python benchmarks/registration.py [number of subjects, 20]

Needs the reference data ($DRASCLR_REFERENCE, or ../shared/reference beside the checkout). Prints a Markdown table;
docs/benchmarks.md holds the last one. Exits with 1 if a figure misses its limit.
"""

import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from drasclr_core.atlas.landmark_files import load_corners
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import map_points
from drasclr_core.atlas.registration import register_to_atlas

REFERENCE = Path(os.environ.get("DRASCLR_REFERENCE", Path(__file__).parents[2] / "shared/reference"))
SEED = 20240


def random_affine(rng, centre_mm):
    """Return an affine: rotation to 10 degrees and shift to 40 mm per axis, scale 0.85-1.15, shear to 0.1."""
    turn = sitk.Euler3DTransform((0, 0, 0), *np.deg2rad(rng.uniform(-10, 10, 3)))
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = rng.uniform(-0.1, 0.1, 3)
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((np.reshape(turn.GetMatrix(), (3, 3)) @ shear @ np.diag(rng.uniform(0.85, 1.15, 3))).ravel())
    affine.SetCenter(centre_mm)
    affine.SetTranslation(rng.uniform(-40, 40, 3))
    return affine


def warp(atlas, affine):
    """Return the atlas mask moved by `affine`, on a 1 mm LPS grid of its own."""
    ends = [(0, size - 1) for size in atlas.GetSize()]
    corners_mm = [atlas.TransformIndexToPhysicalPoint((x, y, z)) for x in ends[0] for y in ends[1] for z in ends[2]]
    mapped_mm = map_points(affine, np.array(corners_mm))
    low, high = np.floor(mapped_mm.min(axis=0)), np.ceil(mapped_mm.max(axis=0))
    grid = sitk.Image([int(size) for size in high - low], sitk.sitkUInt8)
    grid.SetOrigin(low)
    return sitk.Resample(atlas, grid, affine.GetInverse(), sitk.sitkNearestNeighbor)


def dice(subject, atlas, transform):
    """Return the Dice overlap at the atlas's full resolution."""
    mapped = sitk.GetArrayFromImage(sitk.Resample(subject, atlas, transform, sitk.sitkNearestNeighbor)) > 0
    lung = sitk.GetArrayViewFromImage(atlas) > 0
    return 2 * (mapped & lung).sum() / (mapped.sum() + lung.sum())


def measure(atlas, landmarks_mm, rng):
    """Return mean and largest landmark error (mm), Dice at 1 mm, and CPU and wall seconds of one subject."""
    centre_mm = atlas.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in atlas.GetSize()])
    affine = random_affine(rng, centre_mm)
    subject = warp(atlas, affine)
    cpu, wall = time.process_time(), time.perf_counter()
    found = register_to_atlas(subject, atlas)
    seconds = time.process_time() - cpu, time.perf_counter() - wall
    error_mm = np.linalg.norm(map_points(found.transform, landmarks_mm) - map_points(affine, landmarks_mm), axis=1)
    return error_mm.mean(), error_mm.max(), dice(subject, atlas, found.transform), *seconds


def main(subjects):
    """Print the table; return whether every figure keeps its limit."""
    start = time.process_time()
    import ants  # noqa: F401 - its import is timed apart

    import_seconds = time.process_time() - start
    atlas = sitk.Cast(sitk.ReadImage(str(REFERENCE / "atlas_lung_mask.nii.gz")), sitk.sitkUInt8)
    grid = LandmarkGrid.build(atlas, corners=load_corners(REFERENCE / "atlas_patch_loc.npy"))
    rng = np.random.default_rng(SEED)
    figures = np.array([measure(atlas, grid.points_mm, rng) for _ in range(subjects)])
    mean_mm, worst_mm, overlap, cpu_s, wall_s = figures.T
    rows = [
        ("landmark error, mean (mm)", f"{mean_mm.mean():.3f}", "< 1", mean_mm.mean() < 1),
        ("landmark error, worst (mm)", f"{worst_mm.max():.3f}", "< 3", worst_mm.max() < 3),
        ("Dice at 1 mm, lowest", f"{overlap.min():.4f}", "> 0.97", overlap.min() > 0.97),
        ("CPU-seconds a subject, mean", f"{cpu_s.mean():.1f}", "< 10", cpu_s.mean() < 10),
        ("CPU-seconds a subject, most", f"{cpu_s.max():.1f}", "< 10", cpu_s.max() < 10),
        ("wall seconds a subject, mean", f"{wall_s.mean():.1f}", "", True),
        ("CPU-seconds to import ANTsPy, once a job", f"{import_seconds:.1f}", "", True),
    ]
    print(f"{subjects} affines of the published mask, {len(grid)} landmarks, seed {SEED}; {machine()}\n")
    print("| figure | measured | limit |\n|---|---|---|")
    for name, value, limit, _ in rows:
        print(f"| {name} | {value} | {limit} |")
    return all(kept for *_, kept in rows)


def machine():
    """Say on what machine this ran."""
    cpu = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 20) else 1)
