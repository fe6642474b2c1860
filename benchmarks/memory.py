"""Peak memory of a training at the settings of a configuration, on a bank that takes none, by what holds it.

    python benchmarks/memory.py                                                                # the default job
    python benchmarks/memory.py --config config/copdgene.yaml --subjects 9180 --landmarks 581  # the paper's setting

One process serves all groups, takes some steps and saves a checkpoint; a second one goes on from it. On a GPU the
parts are those of its memory and the process's own is reported beside. All patches are one random patch.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import yaml
from side_by_side import Figure, InMemory, print_figures, print_table, random_grid
from torch.utils import _pytree as pytree

from drasclr_core.atlas.bank import Bank
from drasclr_core.config.checks import check_config, pretrain_settings
from drasclr_core.config.recipes import with_recipe
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.loop import _Loop
from drasclr_core.train.parallel import Processes

PATCH = 32


class After:
    """Wants to stop after so many more steps of a loop."""

    def __init__(self, loop, steps):
        self.loop, self.last = loop, loop.step + steps - 1

    @property
    def wanted(self):
        """Whether the next step is the last."""
        return self.loop.step >= self.last


def bank_of(landmarks, subjects, neighbours):
    """Return a bank that takes the memory of a patch and of the table of validity."""
    patch = np.random.default_rng(0).integers(-1000, 100, (PATCH,) * 3, dtype=np.int16)
    hu = np.broadcast_to(patch, (landmarks, subjects, *patch.shape)).view(InMemory)
    grid = random_grid(landmarks, neighbours)
    ids = [f"s{place}" for place in range(subjects)]
    return Bank(hu, np.ones((landmarks, subjects), bool), ids, grid, np.arange(subjects))


def settings_of(path, run, subjects):
    """Return the settings of a run of a configuration, as far as this machine has the GPU and the cores."""
    config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    check_config(config)
    chosen = pretrain_settings(with_recipe(config, {"the bank's": subjects}), run)
    del chosen["processes"], chosen["nodes"]
    chosen["cpu_threads"] = min(chosen["cpu_threads"], os.cpu_count())  # more of them wait for each other
    if not torch.cuda.is_available():
        chosen |= {"device": "cpu", "precision": "float32"}  # bfloat16 is refused on a CPU
    return PretrainSettings(**chosen)


def measure(settings, landmarks, subjects, steps, work):
    """Train for some steps, go on from `work`'s checkpoint where there is one; return name -> GB."""
    libraries_gb = process_peak_gb()
    torch.set_num_threads(settings.cpu_threads)
    device = torch.device("cpu" if settings.device == "cpu" else "cuda")
    bank = bank_of(landmarks, subjects, settings.neighbours)
    loop = _Loop(bank, settings, Processes(0, 1, settings.groups), device, work)
    loop.resume()
    loop.run(After(loop, steps))
    state = loop.contrast.state_dict()
    parts = {
        "queues": tensors_gb(state.pop("queues")),
        "rows of the bank": tensors_gb(loop.rows._slots),
        "both encoders, gradients, momentum": tensors_gb([state, [p.grad for p in loop.contrast.encoder.parameters()]]),
    }
    if device.type == "cuda":
        peak_gb, beside = torch.cuda.max_memory_allocated() / 1e9, {"peak of the process": process_peak_gb()}
    else:
        peak_gb, beside = process_peak_gb(), {}
        parts["Python and libraries"] = libraries_gb
    parts["the rest: activations, views, temporaries"] = peak_gb - sum(parts.values())
    return {**parts, "peak": peak_gb, **beside}


def tensors_gb(tree):
    """Return the bytes of all tensors in nested containers, in 10^9."""
    return sum(leaf.nbytes for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)) / 1e9


def process_peak_gb():
    """Return the most memory that this process has held, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main(args):
    """Measure and print."""
    settings = settings_of(args.config, args.run, args.subjects)
    job = f"{args.config}, {args.subjects} subjects, {args.landmarks} landmarks"
    print(f"{job}, batch {settings.batch_size}, {settings.queue_size} keys a queue, {settings.precision}, ", end="")
    print(f"{'CPU' if settings.device == 'cpu' else torch.cuda.get_device_name()}, {args.steps} steps; GB\n")
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as folder, pool:
        task = (measure, settings, args.landmarks, args.subjects, args.steps, Path(folder))
        first, second = (pool.submit(*task).result() for _ in range(2))
    header = ["memory", "from the start", "gone on from its checkpoint"]
    print_table(header, [[name, f"{first[name]:.3f}", f"{second[name]:.3f}"] for name in first])
    print_figures([Figure(f"peak memory, {job}, GB", max(first["peak"], second["peak"]))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="config.yaml")
    parser.add_argument("--run", default="drasclr")
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--landmarks", type=int, default=22, help="the default job's atlas has 22")
    parser.add_argument("--steps", type=int, default=3)
    main(parser.parse_args())
