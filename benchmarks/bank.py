"""What building the bank, and the histograms of the method kmeans, cost a patch; and what memory the bank takes.

    python benchmarks/bank.py [--subjects 400] [--landmarks 64] [--memory-gb 0.5]

Every subject has the patches of one phantom. Each job runs in a process of its own; what its imports take is left out.
"""

import argparse
import multiprocessing
import re
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from side_by_side import Figure, print_figures, print_table, random_grid

from drasclr_core.atlas.bank import build_bank
from drasclr_core.atlas.patches import STORE, cut_patches, open_patches, write_patches
from drasclr_core.methods.kmeans import patch_histograms
from drasclr_core.phantom.simulate import simulate_subject

PATCH = 32


def write_stores(folder, subjects, landmarks):
    """Write the patches stage of every subject; return its folders."""
    phantom = simulate_subject("phantom-001", 0, (1.0, 1.0, 1.0))
    inside = np.argwhere(sitk.GetArrayViewFromImage(phantom.lungs) > 0)
    starts = np.random.default_rng(0).choice(inside, landmarks) - PATCH // 2
    hu, valid = cut_patches(sitk.GetArrayFromImage(phantom.ct), starts, PATCH)
    folders = [folder / f"s{place}" for place in range(subjects)]
    for place in folders:
        place.mkdir()
        write_patches(place / STORE, hu, starts, valid)
    return folders


def bank(folders, path, landmarks, memory_gb):
    """Build a bank."""
    build_bank(folders, [folder.name for folder in folders], path, grid=random_grid(landmarks, 2), memory_gb=memory_gb)


def histograms(folders):
    """Read all patches and count their voxels, as the method kmeans does once."""
    for folder in folders:
        patch_histograms(open_patches(folder / STORE)["hu"][:], 32)


def measured(function, *arguments):
    """Return CPU-seconds, wall seconds, and the process's peak before and after in GB."""
    before_gb, cpu, wall = peak_gb(), time.process_time(), time.perf_counter()
    function(*arguments)
    return time.process_time() - cpu, time.perf_counter() - wall, before_gb, peak_gb()


def peak_gb():
    """Return the most memory that this process has held, in 10^9 bytes."""
    # Not getrusage's, which may be that of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e9


def main(args):
    """Measure and print."""
    patches = args.subjects * args.landmarks
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with TemporaryDirectory() as name, pool:
        folders = write_stores(Path(name), args.subjects, args.landmarks)
        jobs = {
            f"bank, {args.memory_gb} GB for patches": (
                bank,
                folders,
                Path(name) / "bank",
                args.landmarks,
                args.memory_gb,
            ),
            "histograms of kmeans": (histograms, folders),
        }
        found = {job: pool.submit(measured, *task).result() for job, task in jobs.items()}
    print(f"{args.subjects} subjects, {args.landmarks} landmarks\n")
    rows = [
        [job, f"{1000 * cpu / patches:.2f}", f"{1000 * wall / patches:.2f}", f"{before:.2f}", f"{after:.2f}"]
        for job, (cpu, wall, before, after) in found.items()
    ]
    print_table(["job", "CPU-ms a patch", "wall ms a patch", "peak before, GB", "peak, GB"], rows)
    print_figures(
        [Figure(f"{job}, CPU-ms a patch", 1000 * cpu / patches, form=".2f") for job, (cpu, *_) in found.items()]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=400)
    parser.add_argument("--landmarks", type=int, default=64)
    parser.add_argument("--memory-gb", type=float, default=0.5)
    main(parser.parse_args())
