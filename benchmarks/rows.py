"""How fast a landmark row of the bank is read, and what share of its time a training waits for data.

    python benchmarks/rows.py [BANK]

The rows hold 1,110 subjects, as MosMed's do: the patches of BANK (a bank.zarr), else of two phantoms. Every reader
has two threads and reads from the page cache; a round reads each file four times and counts the last three.
docs/benchmarks.md holds the last tables.
"""

import csv
import os
import platform
import sys
import time
from functools import partial
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
import zarr
from side_by_side import Figure, print_figures, print_table

from drasclr_core.atlas.bank import Bank, open_bank
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import ct_compressor, cut_patches
from drasclr_core.atlas.shards import THREADS, RowFiles, create_rows, row_compressor
from drasclr_core.cohort.phantom_ids import phantom_ids
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.phantom.simulate import simulate_subject
from drasclr_core.train.loop import pretrain

SUBJECTS = 1110
ROUNDS, WARM, COUNTED = 9, 1, 3
PATCH = 32
GOALS = {"uncompressed": 0.7, "lz4, bitshuffle (the bank's)": 0.6}  # of np.fromfile
WAITING_GOAL_PERCENT = 5
COMPRESSORS = {"uncompressed": None, "lz4, bitshuffle (the bank's)": row_compressor(), "zstd, shuffle": ct_compressor()}
TRAINING = PretrainSettings(epochs=1, batch_size=16, queue_size=160, cpu_threads=2, device="cpu", log_steps=10)
TRAINED_ON, ROWS_HELD = 160, 6


def bank_patches(path):
    """Return SUBJECTS patches of a bank, (N, P, P, P): one landmark after another."""
    bank = open_bank(path)
    rows = -(-SUBJECTS // len(bank.participant_ids))
    return np.concatenate([bank.row(landmark % len(bank.grid)) for landmark in range(rows)])[:SUBJECTS]


def phantom_patches():
    """Return SUBJECTS patches, (N, P, P, P), at random voxels of the lungs of two phantoms at 1 mm."""
    parts = []
    for place, name in enumerate(phantom_ids(2)):
        phantom = simulate_subject(name, 0, (1.0, 1.0, 1.0))
        inside = np.argwhere(sitk.GetArrayViewFromImage(phantom.lungs) > 0)
        centres = np.random.default_rng(place).choice(inside, SUBJECTS // 2)
        parts.append(cut_patches(sitk.GetArrayFromImage(phantom.ct), centres - PATCH // 2, PATCH)[0])
    return np.concatenate(parts)


def readers(folder, patches):
    """Return name -> (reader, its file), and write the files."""
    raw, buffer, found = folder / "row.raw", np.zeros_like(patches), {}
    patches.tofile(raw)
    found["np.fromfile", "uncompressed"] = (lambda: np.fromfile(raw, np.int16).reshape(patches.shape)), raw
    for name, compressor in COMPRESSORS.items():
        array = create_rows(zarr.create_group(folder / name), (1, *patches.shape), compressor)
        array[0] = patches
        found["zarr", name] = partial(array.__getitem__, 0), folder / name
        found["ours", name] = partial(filled, RowFiles.of(array), buffer), folder / name
    return found


def filled(files, buffer):
    """Read the row into memory that is there already."""
    files.read(0, buffer)
    return buffer


def seconds_each(found, patches):
    """Return name -> median seconds of a read, the rounds interleaved."""
    seconds = {name: [] for name in found}
    for name, (read, _) in found.items():
        assert np.array_equal(read(), patches), name
    for _ in range(ROUNDS):
        for name, (read, _) in found.items():
            for repetition in range(WARM + COUNTED):
                begin = time.perf_counter()
                row = read()
                if repetition >= WARM:
                    seconds[name].append(time.perf_counter() - begin)
                del row
    return {name: median(values) for name, values in seconds.items()}


def print_rows(patches):
    """Print the table of the readers; return the figures of ours."""
    rows, figures = [], []
    with TemporaryDirectory() as folder, zarr.config.set({"threading.max_workers": THREADS}):
        found = readers(Path(folder), patches)
        seconds = seconds_each(found, patches)
        for (reader, name), (_, path) in found.items():
            ratio = seconds["np.fromfile", "uncompressed"] / seconds[reader, name]
            if reader == "ours" and name in GOALS:
                figures.append(Figure(f"row of the bank, {name}, bytes a second / np.fromfile", ratio, GOALS[name]))
            files = [file for file in path.rglob("hu/c/**/*") if file.is_file()] or [path]
            size = sum(file.stat().st_size for file in files)
            speed = patches.nbytes / seconds[reader, name] / 1e9
            cells = [f"{speed:.2f}", f"{ratio:.2f}", f"{size / 1e6:.1f}", f"{size / patches.nbytes:.0%}"]
            rows.append([reader, name, *cells, str(len(files))])
    print_table(["reader", "row", "GB/s", "of np.fromfile", "MB", "of its patches", "files"], rows)
    return figures


def waiting_share(folder, patches):
    """Return the share of its time that a training waits, of eight landmarks whose rows do not all fit in memory."""
    grid = LandmarkGrid.build(
        sitk.Image((72,) * 3, sitk.sitkUInt8) + 1, patch_size=PATCH, step=PATCH, neighbours=TRAINING.neighbours
    )
    hu = create_rows(zarr.create_group(folder), (len(grid), TRAINED_ON, *[PATCH] * 3), row_compressor())
    for landmark in range(len(grid)):
        hu[landmark] = patches[np.arange(landmark, landmark + TRAINED_ON * 6, 6) % len(patches)]
    ids = [f"s{place}" for place in range(TRAINED_ON)]
    row_memory_gb = ROWS_HELD * hu.nbytes / len(grid) / 1e9
    settings = PretrainSettings(**{**vars(TRAINING), "row_memory_gb": row_memory_gb})
    bank = Bank(hu, np.ones(hu.shape[:2], bool), ids, grid, np.arange(TRAINED_ON))
    pretrain(bank, settings, folder / "training")
    with (folder / "training" / "metrics.csv").open(newline="") as file:
        return mean(float(row["waiting_share"]) for row in csv.DictReader(file))


def main(bank_path=None):
    """Measure and print."""
    patches = bank_patches(bank_path) if bank_path else phantom_patches()
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores (load {load:.1f}), Python", end=" ")
    print(f"{platform.python_version()}, zarr {zarr.__version__}; patches of {'a bank' if bank_path else 'phantoms'}\n")
    figures = print_rows(patches)
    with TemporaryDirectory() as folder:
        share = waiting_share(Path(folder), patches)
    task = f"waiting for data, % of a step (CPU, batch {TRAINING.batch_size}, {ROWS_HELD} of 8 rows in memory)"
    print_figures([*figures, Figure(task, 100 * share, WAITING_GOAL_PERCENT, lower_is_better=True)])


if __name__ == "__main__":
    main(*sys.argv[1:])
