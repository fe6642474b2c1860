"""Which subjects meet at which landmark, and their patches from the bank."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from drasclr_core.bank import Bank
from drasclr_core.parallel import Processes
from drasclr_core.settings import PretrainSettings

logger = logging.getLogger(__name__)

BATCH_STREAM = 4
"""Random stream of the batches; `views` draws its own from streams 0 to 3 of each step."""


@dataclass(frozen=True)
class Batch:
    """Subjects at one landmark.

    Attributes
    ----------
    landmark : int
        Landmark index; queue, location code and patches all follow from it.
    subjects : (G, b) int64 array
        Subject indices, a row per group.
    """

    landmark: int
    subjects: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Patches:
    """The patches of the own groups of one process.

    Attributes
    ----------
    batch : Batch
        Whole, of all groups.
    centre : (g, b, P, P, P) int16 array
        HU at the landmark.
    neighbours : (g, k, b, P, P, P) int16 array
        HU at its k neighbours.
    """

    batch: Batch
    centre: npt.NDArray[np.int16]
    neighbours: npt.NDArray[np.int16]


def batches_per_landmark(valid: npt.NDArray[np.bool_], settings: PretrainSettings) -> npt.NDArray[np.int64]:
    """Return how many whole batches an epoch holds at each landmark, (L,), from validity (L, N)."""
    blocks = np.array_split(valid, settings.groups, axis=1)
    share = settings.batch_size // settings.groups
    return np.min([block.sum(axis=1) for block in blocks], axis=0) // share


def epoch_batches(valid: npt.NDArray[np.bool_], settings: PretrainSettings, epoch: int) -> list[Batch]:
    """Return the batches of an epoch: landmarks in random order, all batches of a landmark together.

    Group g draws from the g-th of G equal blocks of subjects, without replacement. Subjects whose patch at a
    landmark is not valid sit out there; so do, at random, those that fill no whole batch.

    Parameters
    ----------
    valid : (L, N) bool array
        Whether a subject's patch centre lies inside its volume.
    settings : PretrainSettings
    epoch : int
        The order depends on it and the seed alone.
    """
    rng = np.random.default_rng([settings.seed, epoch, 0, BATCH_STREAM])
    counts = batches_per_landmark(valid, settings)
    share = settings.batch_size // settings.groups
    blocks = np.array_split(np.arange(valid.shape[1]), settings.groups)
    batches = []
    for landmark in rng.permutation(len(valid)):
        count = counts[landmark]
        members = [rng.permutation(block[valid[landmark, block]])[: count * share] for block in blocks]
        table = np.stack([own.reshape(count, share) for own in members], axis=1)  # (count, G, b)
        batches += [Batch(int(landmark), subjects) for subjects in table]
    return batches


def read_batches(
    bank: Bank, batches: Sequence[Batch], settings: PretrainSettings, processes: Processes
) -> Iterator[Patches]:
    """Yield the patches of each batch; the next are read in the background meanwhile.

    Each bank row is read whole and kept while memory (`row_memory_gb`) allows, so the batches of one landmark and
    the landmarks that share neighbours read it once.
    """
    row_gb = bank.hu.nbytes / len(bank.grid) / 1e9
    rows = lru_cache(maxsize=max(1 + settings.neighbours, int(settings.row_memory_gb / row_gb)))(bank.row)

    def read(batch: Batch) -> Patches:
        own = batch.subjects[processes.own_groups]
        neighbours = bank.grid.neighbours[batch.landmark, : settings.neighbours]
        centre = rows(batch.landmark)[own]
        around = np.empty((len(own), len(neighbours), *centre.shape[1:]), np.int16)
        for place, neighbour in enumerate(neighbours):
            around[:, place] = rows(int(neighbour))[own]
        return Patches(batch, centre, around)

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, batches[0]) if batches else None
        for following in [*batches[1:], None]:
            if ahead is None:
                return
            patches = ahead.result()
            ahead = reader.submit(read, following) if following else None
            yield patches
