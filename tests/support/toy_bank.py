"""A small bank in which every patch tells whose it is and where it was cut."""

import numpy as np
import zarr

from drasclr_core.atlas.bank import Bank
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.config.settings import PretrainSettings

SETTINGS = PretrainSettings(
    batch_size=4,
    groups=2,
    queue_size=6,
    feature_dim=8,
    num_experts=2,
    device="cpu",
    cpu_threads=1,
    log_steps=3,
)
"""A training on the toy bank takes a second."""


def toy_grid():
    points_mm = np.array([[0.0, 0, 0], [26, 0, 0], [0, 26, 0], [0, 0, 26]])
    low, high = points_mm.min(0), points_mm.max(0)
    return LandmarkGrid(
        points_mm=points_mm,
        codes=2 * (points_mm - low) / (high - low) - 1,
        neighbours=np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]),
        patch_size=32,
        convention="centre",
        spacing_mm=1.0,
        direction=(1, 1, 1),
        code_low_mm=low,
        code_high_mm=high,
    )


def toy_bank(subjects=8, valid=None, seed=0, persons=None):
    """Return a bank in memory; voxel (0, 0, 0) of a patch is 10 * landmark + subject, the rest noise."""
    hu = np.random.default_rng(seed).integers(-1000, 200, (4, subjects, 32, 32, 32)).astype(np.int16)
    hu[:, :, 0, 0, 0] = 10 * np.arange(4)[:, None] + np.arange(subjects)
    store = zarr.create_array(zarr.storage.MemoryStore(), data=hu, chunks=(1, subjects, 32, 32, 32))
    valid = np.ones((4, subjects), bool) if valid is None else valid
    persons = np.arange(subjects) if persons is None else np.asarray(persons)
    return Bank(store, valid, [f"s{i}" for i in range(subjects)], toy_grid(), persons)
