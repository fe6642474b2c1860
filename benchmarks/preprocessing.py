"""Measure preprocessing of one scan, step by step: CPU-seconds and peak memory, each step in a process of its own.

    python benchmarks/preprocessing.py ../shared/ct/LIDC-IDRI-0001_ct.nii.gz
    python benchmarks/preprocessing.py --synthetic 2000     # slices of 512 x 512 voxels

Peak memory is that of the whole process, interpreter and libraries included.
"""

import logging
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from drasclr_core.atlas import stages as subject_stages
from drasclr_core.atlas.atlas import write_atlas, write_landmarks
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.files import LUNGS, read_json
from drasclr_core.scan.images import read_ct, read_image, resample_isotropic

logger = logging.getLogger(__name__)

SPACING_MM = 1.0
SYNTHETIC_SPACING_MM = (0.7, 0.7, 0.3)


def read(scan: Path, folder: Path) -> None:
    """Read and check alone (a part of ingest)."""
    read_ct(scan)


def read_and_resample(scan: Path, folder: Path) -> None:
    """Read and resample alone (a part of ingest)."""
    resample_isotropic(read_ct(scan), SPACING_MM)


def ingest(scan: Path, folder: Path) -> None:
    """Read, resample, write."""
    subject_stages.ingest(scan, folder, spacing_mm=SPACING_MM, axes="LPS")


def segment(scan: Path, folder: Path) -> None:
    """Segment by thresholds, measure on the scan's own grid; make an atlas of the lungs for the next steps."""
    subject_stages.segment(folder, scan, folder, weights=None)
    lungs = read_image(folder / LUNGS)
    write_atlas(lungs, folder / "atlas.nii.gz")
    write_landmarks(lungs, folder / "landmarks.json", **GRID)


def register(scan: Path, folder: Path) -> None:
    """Register the lungs to the atlas (here their own)."""
    atlas = read_image(folder / "atlas.nii.gz")
    subject_stages.register(folder, atlas, folder, spacing_mm=4.0, min_dice=0.8, seed=0)


def cut(scan: Path, folder: Path) -> None:
    """Cut and write the patches of all landmarks."""
    grid = LandmarkGrid.from_json(read_json(folder / "landmarks.json"))
    subject_stages.cut(folder, folder, grid, folder, max_invalid_fraction=0.2)


STEPS = (read, read_and_resample, ingest, segment, register, cut)
PARTS = (read, read_and_resample)
GRID = {"step": 26, "min_lung_fraction": 0.1, "neighbours": 3, "convention": "centre"}


def write_synthetic(scan: Path, slices: int) -> None:
    """Write a cylinder of tissue with two cylinders of lung, noise included, as int16."""
    y, x = np.mgrid[:512, :512] * SYNTHETIC_SPACING_MM[0] - 179
    body = (x / 165) ** 2 + (y / 115) ** 2 <= 1
    lung = ((np.abs(x) - 75) / 55) ** 2 + (y / 80) ** 2 <= 1
    plane = np.where(lung, -850, np.where(body, 40, -1000))
    rng = np.random.default_rng(0)
    hu = np.empty((slices, 512, 512), dtype=np.int16)
    for index in range(slices):
        ends = min(index, slices - 1 - index) < 0.05 * slices
        hu[index] = np.where(lung & ends, 40, plane) + rng.integers(-30, 30, plane.shape)
    image = sitk.GetImageFromArray(np.maximum(hu, -1024))
    image.SetSpacing(SYNTHETIC_SPACING_MM)
    sitk.WriteImage(image, str(scan))


def measure(step: Callable[..., None], *arguments: object) -> tuple[float, float, float]:
    """Return CPU-seconds, wall seconds and peak MB of one step in a fresh process.

    A process starts with its parent's peak, so the parent itself must stay small.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(step, arguments, sender))
    process.start()
    sender.close()
    figures = receiver.recv()
    process.join()
    return figures


def _run(step, arguments, sender) -> None:
    logging.basicConfig(level="INFO", format="%(message)s")
    start = time.perf_counter()
    step(*arguments)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    sender.send((usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024))


def main(arguments: list[str]) -> None:
    """Measure the steps for the scan, or the synthetic scan, that the command line names."""
    logging.basicConfig(level="INFO", format="%(message)s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = Path(arguments[0])
        if arguments[0] == "--synthetic":
            scan = folder / "scan.nrrd"
            measure(write_synthetic, scan, int(arguments[1]))
        logger.info("| step | CPU-s | wall s | peak MB |\n|---|---|---|---|")
        figures = {step: measure(step, scan, folder) for step in STEPS}
        for step, values in figures.items():
            note = " (part of ingest)" if step in PARTS else ""
            logger.info("| %s%s | %.1f | %.1f | %.0f |", step.__name__, note, *values)
        whole = [values for step, values in figures.items() if step not in PARTS]
        cpu_s, wall_s, _ = map(sum, zip(*whole, strict=True))
        logger.info("| file to patches | %.1f | %.1f | %.0f |", cpu_s, wall_s, max(peak for *_, peak in whole))


if __name__ == "__main__":
    main(sys.argv[1:])
