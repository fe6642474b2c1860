"""The training step beside the released one, and beside the same step with plain convolutions.

    python benchmarks/step.py [--released ../DrasCLR]      # a checkout of github.com/batmanlab/DrasCLR

The released model, dataset and augmentation run as they are, in one process (gloo), their data through a DataLoader
with as many workers as there are threads. Ours with data is `loop.pretrain` on a bank on disk.
"""

import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
import torch.distributed as dist
from side_by_side import Figure, arguments, in_turns, print_figures, print_table, released_module, write_bank

from drasclr_core.atlas.bank import Bank
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.contrast import Contrast
from drasclr_core.train.loop import initial_encoder, pretrain
from drasclr_core.train.parallel import Processes
from drasclr_core.train.views import Views

SUBJECTS = 160
SETTINGS = PretrainSettings(epochs=1, batch_size=16, groups=1, queue_size=4096, device="cpu", log_steps=1)
FIRST_STEPS = 2  # of each loop, while things warm up
RELEASED_STEPS = 12  # of each of its loops
LOOPS = 3


def main() -> None:
    """Measure and print."""
    chosen = arguments(__doc__)
    settings = replace(SETTINGS, cpu_threads=chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        mask = sitk.GetImageFromArray(np.ones((64, 64, 64), np.uint8))
        grid = LandmarkGrid.build(mask, neighbours=settings.neighbours)
        bank = write_bank(Path(folder), grid, SUBJECTS)
        figures = compare_steps(bank, settings, chosen.released, chosen.rounds)
        figures += compare_with_data(bank, settings, chosen.released, Path(folder))
    print_figures(figures)


def compare_steps(bank: Bank, settings: PretrainSettings, checkout: Path | None, rounds: int) -> list[Figure]:
    """Time the step on views made before."""
    forms = {
        "static convolutions": our_step(bank, replace(settings, conditioning="none")),
        "ours": our_step(bank, settings),
        "ours, channels first": our_step(bank, replace(settings, channels_last=False)),
        "static, channels first": our_step(bank, replace(settings, conditioning="none", channels_last=False)),
    }
    if checkout:
        forms["released"] = released_step(bank, settings, checkout)
    seconds = dict(zip(forms, in_turns(list(forms.values()), rounds), strict=True))
    static, released = seconds["static convolutions"], seconds.get("released")
    print(f"step without augmentation, batch {settings.batch_size}, {settings.cpu_threads} threads\n")
    print_table(
        ["", "ms", "this / static", *(["released / this"] if released else [])],
        [
            [name, f"{1000 * s:.0f}", f"{s / static:.2f}", *([f"{released / s:.1f}"] if released else [])]
            for name, s in seconds.items()
        ],
    )
    return [Figure("step without augmentation, ours / static", seconds["ours"] / static, 1.2, lower_is_better=True)]


def compare_with_data(bank: Bank, settings: PretrainSettings, checkout: Path | None, folder: Path) -> list[Figure]:
    """Time the step with reading and augmentation."""
    ours: list[float] = []
    released: list[float] = []
    for turn in range(LOOPS):
        if checkout:
            released += released_loop(bank, settings, checkout)
        ours += our_loop(bank, settings, folder / f"work{turn}")
    print("\nstep with data and augmentation\n")
    ms = {name: 1000 * statistics.median(s) for name, s in {"ours": ours, "released": released}.items() if s}
    print_table(["", "ms"], [[name, f"{value:.0f}"] for name, value in ms.items()])
    if not checkout:
        return []
    return [Figure("step with data and augmentation, released / ours", ms["released"] / ms["ours"], 7)]


def our_step(bank: Bank, settings: PretrainSettings) -> Callable[[], object]:
    """Return a step on random views."""
    grid, size = bank.grid, settings.batch_size
    encoder = initial_encoder(settings)
    contrast = Contrast(encoder, grid.codes, grid.neighbours, settings, Processes(0, 1, 1), torch.device("cpu"))

    def views(*shape: int) -> torch.Tensor:
        return torch.rand(1, *shape, 1, 32, 32, 32) * 2 - 1

    batch = Views(
        landmark=0,
        step=0,
        visit=0,
        persons=torch.arange(size),
        queries=views(size),
        keys=views(size),
        neighbours=views(2, size),
        key_order=torch.randperm(size),
    )
    return lambda: contrast.step(batch, settings.learning_rate)


def our_loop(bank: Bank, settings: PretrainSettings, work: Path) -> list[float]:
    """Return the seconds of each step of a training from the bank."""
    work.mkdir()
    pretrain(bank, settings, work)
    patches = settings.batch_size * (2 + settings.neighbours)
    with (work / "metrics.csv").open() as file:
        return [patches / float(row["patches_per_second"]) for row in csv.DictReader(file)][FIRST_STEPS:]


class ReleasedStep:
    """The released model, loss and optimiser, put together as its train.py does."""

    def __init__(self, bank: Bank, settings: PretrainSettings, checkout: Path) -> None:
        if not dist.is_initialized():
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        builder = released_module(checkout, "models.builder")
        encoder = released_module(checkout, "models.cnn3d").Encoder
        dim = settings.feature_dim
        model = builder.DrasCLR(encoder, len(bank.grid), dim, dim, 8, 1, settings.queue_size, 0.999, 0.2, True)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 6:  # experts: as released they are near zero, where arithmetic can be slow
                parameter.data.uniform_(-0.02, 0.02)
            assert "encoder" in name
        self.model = model.train()
        self.criterion = torch.nn.CrossEntropyLoss()
        self.optimiser = torch.optim.SGD(
            self.model.parameters(), 0.01, momentum=settings.momentum, weight_decay=settings.weight_decay
        )

    def __call__(self, query: Any, key: Any, codes: Any, neighbours: Any, neighbour_codes: Any) -> None:
        """Learn from a batch."""
        local, around, target = self.model(0, [query, codes], [key, codes], [neighbours, neighbour_codes])
        loss = self.criterion(local, target) + self.criterion(around, target)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def released_step(bank: Bank, settings: PretrainSettings, checkout: Path) -> Callable[[], object]:
    """Return a released step on random views."""
    step, size = ReleasedStep(bank, settings, checkout), settings.batch_size
    query, key = torch.rand(2, size, 1, 32, 32, 32) * 2 - 1
    around = torch.rand(size, 2, 32, 32, 32) * 2 - 1
    codes, around_codes = torch.rand(1, 3).expand(size, 3), torch.rand(1, 2, 3).expand(size, 2, 3)
    return lambda: step(query, key, codes, around, around_codes)


def released_loop(bank: Bank, settings: PretrainSettings, checkout: Path) -> list[float]:
    """Return the seconds of some steps with the released dataset and augmentation."""
    step = ReleasedStep(bank, settings, checkout)
    loader = islice(released_batches(bank, settings, checkout), RELEASED_STEPS)
    seconds = []
    begin = time.perf_counter()
    for _, patches, codes, neighbours, neighbour_codes, _ in loader:
        step(patches[0].float(), patches[1].float(), codes.float(), neighbours.float(), neighbour_codes.float())
        now = time.perf_counter()
        seconds.append(now - begin)
        begin = now
    return seconds[FIRST_STEPS:]


def released_batches(bank: Bank, settings: PretrainSettings, checkout: Path) -> Iterator[Any]:
    """Return the batches of the released dataset, filled with our bank instead of its cohort's files."""
    train, loaders = released_module(checkout, "train"), released_module(checkout, "models.loader")
    transform = train.define_augmentation(SimpleNamespace(gpu=0, augmentation="agc"))
    dataset = object.__new__(train.COPD_dataset)
    dataset.stage, dataset.args, dataset.patch_idx = "training", SimpleNamespace(num_patch=len(bank.grid)), 0
    dataset.patch_transforms, dataset.neighbor_transforms = loaders.TwoCropsTransform(transform), transform
    dataset.patch_loc, dataset.k_neighbor_idx = bank.grid.codes, bank.grid.neighbours[0, :2]
    dataset.patch_data = bank.row(0)
    dataset.neighbor_data = np.stack([bank.row(int(place)) for place in dataset.k_neighbor_idx])
    dataset.sid_list, dataset.sid_list_len = bank.participant_ids, len(bank.participant_ids)
    dataset.metric_dict = {name[:6]: [0.0] for name in bank.participant_ids}
    return iter(
        torch.utils.data.DataLoader(dataset, settings.batch_size, num_workers=settings.cpu_threads, drop_last=True)
    )


if __name__ == "__main__":
    main()
