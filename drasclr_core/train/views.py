"""The random views of one batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.augment import apply_views, draw_views
from drasclr_core.train.batches import Patches
from drasclr_core.train.parallel import Processes

_QUERY, _KEY, _NEIGHBOUR, _ORDER = range(4)  # random streams of a step


@dataclass(frozen=True)
class Views:
    """The augmented patches of one batch, those of this process's g groups.

    Attributes
    ----------
    landmark : int
        Landmark index.
    step : int
        Of the training, from 0.
    visit : int
        The step at which this visit of the landmark began.
    persons : (B,) int64 tensor
        Index of each subject's person, of the whole batch, group after group.
    queries, keys : (g, b, 1, P, P, P) tensors
        Two views of each patch.
    neighbours : (g, k, b, 1, P, P, P) tensor
        A view of each neighbouring patch.
    key_order : (B,) int64 tensor
        In which order the keys of the whole batch are dealt to the groups.
    """

    landmark: int
    step: int
    visit: int
    persons: Tensor
    queries: Tensor
    keys: Tensor
    neighbours: Tensor
    key_order: Tensor


def make_views(
    patches: Patches, settings: PretrainSettings, processes: Processes, step: int, device: torch.device
) -> Views:
    """Draw and apply the views of one batch, on `device`; every query, key and neighbour patch draws its own."""

    def views(hu: Tensor, kind: int) -> Tensor:
        streams = [(step, group, kind) for group in processes.own_groups]
        own = zip(hu, streams, strict=True)
        return torch.stack([_augmented(part, settings, patches.spacing_mm, stream, device) for part, stream in own])

    order = np.random.default_rng([settings.seed, step, 0, _ORDER]).permutation(settings.batch_size)
    around = patches.neighbours
    flat = around.flatten(1, 2)
    neighbours = views(flat, _NEIGHBOUR).unflatten(1, around.shape[1:3]) if settings.neighbours else torch.empty(0)
    return Views(
        landmark=patches.batch.landmark,
        step=step,
        visit=step - patches.batch.place,
        persons=patches.persons.to(device),
        queries=views(patches.centre, _QUERY),
        keys=views(patches.centre, _KEY),
        neighbours=neighbours,
        key_order=torch.from_numpy(order).to(device),
    )


def _augmented(
    hu: Tensor, settings: PretrainSettings, spacing_mm: float, stream: tuple[int, int, int], device: torch.device
) -> Tensor:
    rng = np.random.default_rng([settings.seed, *stream])
    parameters = draw_views(len(hu), settings, spacing_mm, rng)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
    shape = (np.count_nonzero(parameters.noise_hu), *hu.shape[1:])
    dtype = torch.float64 if settings.precision == "float64" else torch.float32
    noise = torch.randn(shape, generator=generator, device=device, dtype=dtype)
    return apply_views(hu, parameters, noise)
