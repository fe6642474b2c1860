"""Landmark rows of the bank on the device, each read shortly before its batches come."""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from drasclr_core.atlas.bank import Bank
from drasclr_core.base.errors import InputError
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.parallel import Processes


@dataclass(frozen=True)
class Load:
    """A row to be read.

    Attributes
    ----------
    landmark : int
        Whose row.
    slot : int
        Where to put it.
    visit : int
        The first visit that needs it.
    after : int
        The last visit that needs what the slot holds until then; -1 for none.
    """

    landmark: int
    slot: int
    visit: int
    after: int


def plan_loads(
    visits: Sequence[tuple[int, ...]], slots: int, held: Mapping[int, int]
) -> tuple[list[Load], list[tuple[int, ...]], dict[int, int]]:
    """Decide which rows to read, in which order and where to, so that few are read twice.

    A row that is not held takes a free slot. If there is none, it takes the slot of the row whose next use is
    farthest, preferably of one that the visit before does not need either: it can be read during that visit.

    Parameters
    ----------
    visits : sequence of tuples of int
        The landmarks whose rows are needed at once, visit after visit; none has more than `slots`.
    slots : int
        Rows that may be held.
    held : mapping
        Landmark -> slot of the rows there are.

    Returns
    -------
    loads : list of Load
        In the order of the visits that need them.
    places : list of tuples of int
        The slots of each visit's rows.
    held : dict
        Landmark -> slot after the last visit.
    """
    uses = defaultdict(list)
    for visit, landmarks in enumerate(visits):
        for landmark in landmarks:
            uses[landmark].append(visit)
    held, loads, places = dict(held), [], []
    free = deque(sorted(set(range(slots)) - set(held.values())))
    for visit, landmarks in enumerate(visits):
        for landmark in [landmark for landmark in landmarks if landmark not in held]:
            if free:
                slot, after = free.popleft(), -1
            else:
                before = visits[visit - 1] if visit else ()
                gone = _least_needed(held.keys() - landmarks, before, uses, visit)
                slot, after = held.pop(gone), max((use for use in uses[gone] if use < visit), default=-1)
            held[landmark] = slot
            loads.append(Load(landmark, slot, visit, after))
        places.append(tuple(held[landmark] for landmark in landmarks))
    return loads, places, held


def _least_needed(idle: Set[int], before: tuple[int, ...], uses: Mapping[int, list[int]], visit: int) -> int:
    """Return which row to give up for a visit, of those it does not need itself."""

    def next_use(landmark: int) -> float:
        return next((use for use in uses[landmark] if use > visit), inf)

    return max(idle, key=lambda landmark: (landmark not in before, next_use(landmark), landmark))


class Rows:
    """The rows of one process's subjects; a context, at whose end the reading ends.

    On a GPU one row more is in the host's memory, on its way.

    Parameters
    ----------
    bank : Bank
    settings : PretrainSettings
        Of which `row_memory_gb` bounds the rows held, those read ahead included.
    processes : Processes
    device : torch.device
        Where the rows are held.

    Attributes
    ----------
    subjects : range
        The subjects of this process's groups.

    Raises
    ------
    InputError
        If not even the rows of one landmark and its neighbours fit.
    """

    def __init__(self, bank: Bank, settings: PretrainSettings, processes: Processes, device: torch.device) -> None:
        self.bank, self.settings, self.processes, self.device = bank, settings, processes, device
        blocks = subject_blocks(len(bank.participant_ids), settings.groups)
        own = [blocks[group] for group in processes.own_groups]
        self.subjects = range(own[0].start, own[-1].stop)
        self._shape = (len(self.subjects), *bank.hu.shape[2:])
        row_bytes = int(np.prod(self._shape)) * np.dtype(np.int16).itemsize
        slots, needed = int(settings.row_memory_gb * 1e9 / max(row_bytes, 1)), 1 + settings.neighbours
        if slots < needed:
            raise InputError(
                f"pretrain.row_memory_gb is {settings.row_memory_gb}, but the rows of a landmark and its "
                f"{settings.neighbours} neighbours, {len(self.subjects)} subjects per process, need "
                f"{needed * row_bytes / 1e9:.3g}, and twice that to be read ahead: raise it."
            )
        self._slots: list[Tensor | None] = [None] * min(slots, len(bank.grid))
        self._held: dict[int, int] = {}
        self._reader = ThreadPoolExecutor(1)
        if device.type == "cuda":
            self._staging = torch.empty(self._shape, dtype=torch.int16, pin_memory=True)
            self._copied = torch.cuda.Event()

    def walk(self, visits: Sequence[tuple[int, ...]]) -> Iterator[list[Tensor]]:
        """Yield the rows of each visit's landmarks, (n, P, P, P) int16 tensors on the device.

        They hold until the next are asked for. The rows of the following visits are read meanwhile.
        """
        loads, places, held = plan_loads(visits, len(self._slots), self._held)
        self._held = {}  # nobody knows, if the walk is broken off
        waiting, running = deque(loads), deque[tuple[int, Future[None]]]()
        for visit, slots in enumerate(places):
            while waiting and waiting[0].after < visit:
                load = waiting.popleft()
                running.append((load.visit, self._reader.submit(self._load, load.landmark, load.slot)))
            while running and running[0][0] == visit:
                running.popleft()[1].result()
            yield [self._slot(slot) for slot in slots]
        self._held = held

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.shutdown(cancel_futures=True)

    def _load(self, landmark: int, slot: int) -> None:
        row = self._slot(slot)
        if self.device.type == "cpu":
            self.bank.read(landmark, row.numpy(), self.subjects.start)
            return
        # On the stream of the steps: they have read the slot before, and read it again after.
        self._copied.synchronize()
        self.bank.read(landmark, self._staging.numpy(), self.subjects.start)
        with torch.cuda.device(self.device):
            row.copy_(self._staging, non_blocking=True)
            self._copied.record()

    def _slot(self, slot: int) -> Tensor:
        row = self._slots[slot]
        if row is None:
            row = self._slots[slot] = torch.empty(self._shape, dtype=torch.int16, device=self.device)
        return row


def subject_blocks(count: int, groups: int) -> list[range]:
    """Return the subjects of each group: blocks of `count` subjects, the first ones longer by one where need be."""
    ends = [len(block) for block in np.array_split(np.arange(count), groups)]
    ends = np.cumsum([0, *ends]).tolist()
    return [range(begin, end) for begin, end in zip(ends[:-1], ends[1:], strict=True)]
