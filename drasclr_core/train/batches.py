"""Which subjects meet at which landmark, and their patches from the bank."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.rows import Rows, subject_blocks

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
    place : int
        How many batches of this visit of the landmark come before.
    """

    landmark: int
    subjects: npt.NDArray[np.int64]
    place: int


@dataclass(frozen=True)
class Patches:
    """The patches of the own groups of one process.

    Attributes
    ----------
    batch : Batch
        Whole, of all groups.
    persons : (B,) int64 tensor
        Index of the person of each subject of the batch.
    spacing_mm : float
        Voxel edge.
    centre : (g, b, P, P, P) int16 tensor
        HU at the landmark.
    neighbours : (g, k, b, P, P, P) int16 tensor
        HU at its k neighbours.
    """

    batch: Batch
    persons: Tensor
    spacing_mm: float
    centre: Tensor
    neighbours: Tensor


def batches_per_landmark(valid: npt.NDArray[np.bool_], settings: PretrainSettings) -> npt.NDArray[np.int64]:
    """Return how many whole batches an epoch holds at each landmark, (L,), from validity (L, N)."""
    blocks = subject_blocks(valid.shape[1], settings.groups)
    share = settings.batch_size // settings.groups
    return np.min([valid[:, block].sum(axis=1) for block in blocks], axis=0) // share


def epoch_batches(valid: npt.NDArray[np.bool_], settings: PretrainSettings, epoch: int) -> list[Batch]:
    """Return the batches of an epoch: visits in random order, `settings.visit_batches` of a landmark in each.

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
    blocks = [np.array(block) for block in subject_blocks(valid.shape[1], settings.groups)]
    visits = []
    for landmark in rng.permutation(len(valid)):
        count = counts[landmark]
        members = [rng.permutation(block[valid[landmark, block]])[: count * share] for block in blocks]
        table = np.stack([own.reshape(count, share) for own in members], axis=1)  # (count, G, b)
        length = settings.visit_batches or max(count, 1)
        for begin in range(0, count, length):
            visit = table[begin : begin + length]
            visits.append([Batch(int(landmark), subjects, place) for place, subjects in enumerate(visit)])
    if settings.visit_batches:
        rng.shuffle(visits)
    return [batch for visit in visits for batch in visit]


def read_batches(rows: Rows, batches: Sequence[Batch]) -> Iterator[Patches]:
    """Yield the own patches of each batch, on the rows' device; the rows of the next are read in the background.

    The batches of one landmark should follow each other: they share its rows.
    """
    landmarks = [batch.landmark for batch in batches]
    runs = [len(list(run)) for _, run in groupby(landmarks)]
    neighbours = rows.bank.grid.neighbours[:, : rows.settings.neighbours]
    visits = [(landmark, *neighbours[landmark].tolist()) for landmark, _ in groupby(landmarks)]
    coming = iter(batches)
    for run, (centre, *around) in zip(runs, rows.walk(visits), strict=True):
        for batch in islice(coming, run):
            yield _gather(batch, centre, around, rows)


def _gather(batch: Batch, centre: Tensor, around: list[Tensor], rows: Rows) -> Patches:
    own = batch.subjects[rows.processes.own_groups]
    places = torch.from_numpy(own.ravel() - rows.subjects.start).to(centre.device)

    def patches(row: Tensor) -> Tensor:
        return row.index_select(0, places).unflatten(0, own.shape)

    neighbours = centre.new_empty((len(own), len(around), own.shape[1], *centre.shape[1:]))
    for place, row in enumerate(around):
        neighbours[:, place] = patches(row)
    persons = torch.from_numpy(rows.bank.persons[batch.subjects.ravel()])
    return Patches(batch, persons, rows.bank.grid.spacing_mm, patches(centre), neighbours)
