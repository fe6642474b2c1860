"""Training steps on cores that other work shares, with libgomp's own waiting and with the jobs'.

    python benchmarks/busy.py [--rounds 3]

As many processes as there are cores count beside each measurement of the busy machine. Each measurement is a process of
its own, for libgomp reads GOMP_SPINCOUNT once; the encoder's forward and backward pass on 16 patches stands for a step.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from side_by_side import Figure, arguments, print_figures, print_table

STEP = """
import time, torch
from drasclr_core.model.encoder import Encoder
torch.set_num_threads({threads})
encoder, patches, location = Encoder(), torch.rand(16, 1, 32, 32, 32), torch.rand(1, 3)
seconds = []
for _ in range(10):
    begin = time.perf_counter()
    encoder(patches, location).square().sum().backward()
    seconds.append(time.perf_counter() - begin)
print(sorted(seconds[2:])[4])
"""
SPINS = {"libgomp's own": None, "3000 (the jobs')": "3000", "0": "0"}


def main() -> None:
    """Measure and print."""
    chosen = arguments(__doc__, rounds=3)
    seconds: dict[tuple[str, bool], list[float]] = {}
    for _ in range(chosen.rounds):
        for busy in (False, True):
            for name, spins in SPINS.items():
                seconds.setdefault((name, busy), []).append(step_seconds(spins, busy, chosen.threads))
    median = {key: statistics.median(values) for key, values in seconds.items()}
    rows = [[name, *(f"{1000 * median[name, busy]:.0f}" for busy in (False, True))] for name in SPINS]
    print_table(["GOMP_SPINCOUNT", "quiet, ms", "busy, ms"], rows)
    default, ours, _ = SPINS
    gain = median[default, True] / median[ours, True]
    print_figures([Figure("busy cores, libgomp's default / ours", gain, 1.0, lower_is_better=False)])


def step_seconds(spins: str | None, busy: bool, threads: int) -> float:
    """Return the median seconds of a step in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = spins
    with other_work(os.cpu_count() if busy else 0):
        command = [sys.executable, "-c", STEP.format(threads=threads)]
        return float(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)


@contextmanager
def other_work(processes: int) -> Iterator[None]:
    """Keep so many cores busy."""
    workers = [multiprocessing.Process(target=all, args=(count(1),), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


if __name__ == "__main__":
    main()
