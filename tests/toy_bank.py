"""A small bank in which every patch tells whose it is and where it was cut."""

import numpy as np
import zarr

from drasclr_core.bank import Bank
from drasclr_core.landmarks import LandmarkGrid

POINTS_MM = np.array([[0.0, 0, 0], [26, 0, 0], [0, 26, 0], [0, 0, 26]])


def toy_grid():
    low, high = POINTS_MM.min(0), POINTS_MM.max(0)
    return LandmarkGrid(
        points_mm=POINTS_MM,
        codes=2 * (POINTS_MM - low) / (high - low) - 1,
        neighbours=np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]),
        patch_size=32,
        convention="centre",
        spacing_mm=1.0,
        direction=(1, 1, 1),
        code_low_mm=low,
        code_high_mm=high,
    )


def toy_bank(subjects=8, valid=None, seed=0):
    """Return a bank in memory; voxel (0, 0, 0) of a patch is 10 * landmark + subject, the rest noise."""
    hu = np.random.default_rng(seed).integers(-1000, 200, (4, subjects, 32, 32, 32)).astype(np.int16)
    hu[:, :, 0, 0, 0] = 10 * np.arange(4)[:, None] + np.arange(subjects)
    store = zarr.create_array(zarr.storage.MemoryStore(), data=hu, chunks=(1, subjects, 32, 32, 32))
    valid = np.ones((4, subjects), bool) if valid is None else valid
    return Bank(store, valid, [f"s{i}" for i in range(subjects)], toy_grid())
