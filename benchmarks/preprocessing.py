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

from drasclr_core.ct_metrics import ct_metrics
from drasclr_core.images import read_ct, read_image, resample_isotropic, write_image
from drasclr_core.lungs import lung_metrics, segment_threshold

logger = logging.getLogger(__name__)

SPACING_MM = 1.0
SYNTHETIC_SPACING_MM = (0.7, 0.7, 0.3)


def ingest(scan: Path, folder: Path) -> None:
    """Read, measure on the scan's own grid, resample, write."""
    ct = read_ct(scan)
    logger.info("%s", ct_metrics(ct, segment_threshold(ct)))
    write_image(resample_isotropic(ct, SPACING_MM), folder / "ct.nii.gz")


def read(scan: Path, folder: Path) -> None:
    """Read and check alone (a part of ingest)."""
    read_ct(scan)


def read_and_resample(scan: Path, folder: Path) -> None:
    """Read and resample alone (a part of ingest)."""
    resample_isotropic(read_ct(scan), SPACING_MM)


def segment(scan: Path, folder: Path) -> None:
    """Segment the isotropic volume by thresholds, write the mask."""
    lungs = segment_threshold(read_image(folder / "ct.nii.gz"))
    logger.info("%s", lung_metrics(lungs))
    write_image(lungs, folder / "lungs.nii.gz")


STEPS = (read, read_and_resample, ingest, segment)


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
        logger.info("%-20s %8s %8s %8s", "step", "CPU-s", "wall-s", "peak MB")
        for step in STEPS:
            logger.info("%-20s %8.1f %8.1f %8.0f", step.__name__, *measure(step, scan, folder))


if __name__ == "__main__":
    main(sys.argv[1:])
