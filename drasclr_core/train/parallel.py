"""What several training processes share; with one process every operation is the identity."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from drasclr_core.base.errors import InputError


@dataclass(frozen=True)
class Processes:
    """The training processes and the groups of subjects each of them serves.

    Attributes
    ----------
    rank, count : int
        This process, and how many there are.
    groups : int
        Groups in all; process r serves the r-th of `count` equal, contiguous shares.
    """

    rank: int
    count: int
    groups: int

    @property
    def own_groups(self) -> range:
        """The groups of this process."""
        share = self.groups // self.count
        return range(self.rank * share, (self.rank + 1) * share)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes, (n, ...) each, concatenated in the order of their ranks."""
        if self.count == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def sum_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in one exchange."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def joined_processes(groups: int, device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started (its variables are in the environment), or stand alone.

    Raises
    ------
    InputError
        If the number of processes does not divide `groups`.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if groups % count:
        raise InputError(f"pretrain.groups is {groups}, but {count} processes were started: the number must divide it.")
    if count == 1:
        yield Processes(0, 1, groups)
        return
    _end_with_launcher()
    # The leading process probes and writes checkpoints while the others wait in their next exchange.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=2))
    try:
        yield Processes(dist.get_rank(), count, groups)
    finally:
        dist.destroy_process_group()


def _end_with_launcher() -> None:
    """Let the system kill this process when the one that started it has ended.

    torchrun gives each process a session of its own: it would outlive a workflow whose process group is killed.
    """
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
