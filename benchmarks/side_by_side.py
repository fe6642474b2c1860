"""What the benchmarks share: timing in turns, the released code, a bank, a Markdown table."""

import argparse
import importlib
import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from drasclr_core.bank import Bank, build_bank, open_bank
from drasclr_core.landmarks import LandmarkGrid
from drasclr_core.patches import STORE, write_patches

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as in the workflow's jobs


def in_turns(functions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the median seconds of each function, called in turns so that a noisy moment falls on all of them."""
    for function in functions:
        function()
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for times, function in zip(seconds, functions, strict=True):
            begin = time.perf_counter()
            function()
            times.append(time.perf_counter() - begin)
    return [statistics.median(times) for times in seconds]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for row in [header, ["---"] * len(header), *rows]:
        print("| " + " | ".join(row) + " |", flush=True)


def arguments(description: str | None) -> argparse.Namespace:
    """Parse --released, --threads and --rounds; set the threads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", type=Path, required=True, help="a checkout of github.com/batmanlab/DrasCLR")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    return chosen


def released_module(checkout: Path, name: str) -> types.ModuleType:
    """Import a module of the released code as it is.

    It calls ``.cuda()`` throughout and logs through a package of its own; on a CPU both are made to do nothing.
    """
    if str(checkout) not in sys.path:
        sys.path.append(str(checkout))
    logger = types.ModuleType("tensorboard_logger")
    logger.configure = logger.log_value = lambda *args: None  # type: ignore[attr-defined]
    sys.modules.setdefault("tensorboard_logger", logger)
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]
    return importlib.import_module(name)


def write_bank(folder: Path, grid: LandmarkGrid, subjects: int, seed: int = 0) -> Bank:
    """Write a bank of coarse random patches with fine noise into `folder`, as the bank stage does; return it open."""
    rng = np.random.default_rng(seed)
    ids = [f"s{place:04d}" for place in range(subjects)]
    for name in ids:
        coarse = rng.integers(-1000, 100, (len(grid), 8, 8, 8), dtype=np.int16)
        hu = coarse.repeat(4, 1).repeat(4, 2).repeat(4, 3)
        hu += rng.integers(-40, 40, hu.shape, dtype=np.int16)
        write_patches(folder / name / STORE, hu, np.zeros((len(grid), 3), np.int64), np.ones(len(grid), bool))
    build_bank([folder / name for name in ids], ids, folder / "bank.zarr", grid=grid)
    return open_bank(folder / "bank.zarr")
