"""What the benchmarks share: timing in turns, the released code, a bank, a Markdown table, the figures with goals."""

import argparse
import importlib
import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from drasclr_core.atlas.bank import Bank, build_bank, open_bank
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import STORE, write_patches

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as in the workflow's jobs


class InMemory(np.ndarray):
    """Patches (L, N, P, P, P) that lie in memory, as a bank's array (`Bank` asks for its store)."""

    store = None


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


@dataclass(frozen=True)
class Figure:
    """A measured figure and the goal it must reach; None where it is only reported."""

    name: str
    measured: float
    goal: float | None = None
    lower_is_better: bool = False
    form: str = ".3f"

    def cells(self) -> list[str]:
        """Return the row of `FIGURES_HEADER`."""
        measured = f"{self.measured:{self.form}}"
        if self.goal is None:
            return [self.name, measured, "", ""]
        met = self.measured <= self.goal if self.lower_is_better else self.measured >= self.goal
        return [self.name, measured, f"{'<=' if self.lower_is_better else '>='} {self.goal}", "yes" if met else "no"]


FIGURES_HEADER = ("figure", "measured", "goal", "met")


def print_figures(figures: Sequence[Figure]) -> None:
    """Print the table that ends a benchmark; `all.py` gathers its rows."""
    print()
    print_table(FIGURES_HEADER, [figure.cells() for figure in figures])


def arguments(description: str | None, rounds: int = 7, **counts: int) -> argparse.Namespace:
    """Parse --released, --threads, --rounds and further `counts`, all of them optional; set the threads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", type=Path, help="a checkout of github.com/batmanlab/DrasCLR")
    for name, default in {"threads": 2, "rounds": rounds, **counts}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.released is None:
        print("Without a checkout of the released code (--released DIR) what compares with it is left out.\n")
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


def random_grid(landmarks: int, neighbours: int = 2, seed: int = 0) -> LandmarkGrid:
    """Return a grid of random landmarks, all with the same neighbours."""
    points_mm = np.random.default_rng(seed).uniform(-150, 150, (landmarks, 3))
    low_mm, high_mm = points_mm.min(axis=0), points_mm.max(axis=0)
    return LandmarkGrid(
        points_mm=points_mm,
        codes=2 * (points_mm - low_mm) / (high_mm - low_mm) - 1,
        neighbours=np.zeros((landmarks, neighbours), np.int64),
        patch_size=32,
        convention="centre",
        spacing_mm=1.0,
        direction=(1, 1, 1),
        code_low_mm=low_mm,
        code_high_mm=high_mm,
    )


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
