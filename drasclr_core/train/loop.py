"""The pretraining loop: steps, probes, checkpoints, resumption, and the reasons to stop before the end."""

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from drasclr_core.atlas.bank import Bank
from drasclr_core.base.errors import InputError
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.encoder import Encoder
from drasclr_core.train.batches import Patches, batches_per_landmark, epoch_batches, read_batches
from drasclr_core.train.checkpoint import State, newest_checkpoint, save_checkpoint
from drasclr_core.train.contrast import Contrast
from drasclr_core.train.negatives import warn_of_stale
from drasclr_core.train.parallel import Processes, joined_processes
from drasclr_core.train.rows import Rows
from drasclr_core.train.telemetry import Telemetry
from drasclr_core.train.views import make_views

logger = logging.getLogger(__name__)

Probe = Callable[[Encoder], float | None]
"""Judges the encoder in training, which it leaves as it is; None where it cannot."""


def pretrain(
    bank: Bank,
    settings: PretrainSettings,
    work: Path,
    *,
    started: float | None = None,
    probe: Probe | None = None,
) -> tuple[Encoder, bool] | None:
    """Train an encoder on a bank; go on where an interrupted training in `work` left off.

    Every random draw is a function of the seed, the step and the group, so the result depends neither on
    interruptions nor on how many processes share the groups.

    Parameters
    ----------
    bank : Bank
        Patches of all subjects at all landmarks.
    settings : PretrainSettings
    work : path
        Folder of this training alone: checkpoints, ``metrics.csv``, ``tensorboard/``. Processes on several machines
        must share it.
    started : float, optional
        When the process started, on the clock of `time.monotonic`: its time limit counts from there; by default from
        now.
    probe : callable, optional
        Called by the leading process every `settings.probe_steps` steps, while the others wait.

    Returns
    -------
    (Encoder, bool) or None
        The trained encoder in evaluation mode on the CPU, and whether this process is the one to save it. None
        where the training stopped before its end, with a checkpoint written: on SIGTERM or Ctrl-C, or `margin_minutes`
        before its time limit.

    Raises
    ------
    InputError
        If the settings and the bank do not fit.
    """
    device = _device(settings)
    _check(bank, settings, device)
    torch.set_num_threads(settings.cpu_threads)
    limit, begin = settings.time_limit_minutes, time.monotonic() if started is None else started
    deadline = math.inf if limit is None else begin + 60 * (limit - settings.margin_minutes)
    with joined_processes(settings.groups, device) as processes, _stop_requests(deadline) as stop:
        loop = _Loop(bank, settings, processes, device, work, probe)
        loop.resume()
        if not loop.run(stop):
            return None
    return loop.finished_encoder(), processes.rank == 0


def initial_encoder(settings: PretrainSettings) -> Encoder:
    """Return an untrained encoder, a function of the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Encoder(settings.feature_dim, settings.num_experts, settings.conditioning, settings.head_norm)


def cosine_rate(base: float, step: int, steps: int, warmup_steps: int = 0) -> float:
    """Return the learning rate of a step: half a cosine from `base` towards 0 over all steps (paper section 3).

    Over the first `warmup_steps` it is the less, in proportion to the steps begun.
    """
    return base * 0.5 * (1 + math.cos(math.pi * step / steps)) * min(1.0, (step + 1) / (warmup_steps + 1))


@dataclass
class _Loop:
    """The state of one training in one process."""

    bank: Bank
    settings: PretrainSettings
    processes: Processes
    device: torch.device
    work: Path
    probe: Probe | None = None
    step: int = 0
    rows: Rows = field(init=False)
    contrast: Contrast = field(init=False)
    telemetry: Telemetry = field(init=False)

    def __post_init__(self) -> None:
        grid = self.bank.grid
        self.rows = Rows(self.bank, self.settings, self.processes, self.device)
        encoder = initial_encoder(self.settings)
        self.contrast = Contrast(encoder, grid.codes, grid.neighbours, self.settings, self.processes, self.device)
        batches = batches_per_landmark(self.bank.valid, self.settings)
        if self.settings.epochs and self._leads:
            warn_of_stale(batches, self.settings)
        self.epoch_steps = int(batches.sum())
        self.steps = self.settings.epochs * self.epoch_steps
        self.telemetry = Telemetry(self.work, self.settings, self.steps, active=self._leads)
        self._wishes = torch.zeros(())

    def run(self, stop: "_Stop") -> bool:
        """Train to the end; return False if stopped before."""
        saved = time.monotonic()
        progress = tqdm(total=self.steps, initial=self.step, unit="step", disable=None if self._leads else True)
        with progress, self.telemetry, self.rows:
            for patches in self._remaining():
                stopping = self._learn(patches, stop.wanted)
                progress.update()
                if stopping and self.step < self.steps:
                    self.save()
                    self.processes.wait()  # torchrun ends the leader soon after another process has ended
                    told = "stopped with a checkpoint at step %d of %d: the same command goes on"
                    logger.warning(told, self.step, self.steps)
                    return False
                # No process waits here: each has its own clock, and not all would come at the same step.
                if time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
        return True

    def save(self) -> None:
        """Write a checkpoint."""
        if self._leads:
            state = State(step=self.step, contrast=self.contrast.state_dict(), telemetry=self.telemetry.state_dict())
            save_checkpoint(self.work, state, self.settings.checkpoints_kept)

    def resume(self) -> None:
        """Go back to the newest checkpoint that can be read, if there is one.

        Raises
        ------
        InputError
            If the processes do not find the same one.
        """
        state = newest_checkpoint(self.work)
        if state is not None:
            self.step = state["step"]
            self.contrast.load_state_dict(state["contrast"])
            self.telemetry.load_state_dict(state["telemetry"])
            logger.info("resumed at step %d of %d", self.step, self.steps)
        found = self.processes.gather(torch.tensor([self.step], device=self.device)).tolist()
        if len(set(found)) > 1:
            raise InputError(f"The processes find checkpoints of steps {found} in {self.work}: is it a shared folder?")
        self.telemetry.start(self.step)

    def finished_encoder(self) -> Encoder:
        """Return the encoder for use: CPU, float32, evaluation mode."""
        encoder = self.contrast.encoder.to("cpu", torch.float32).eval()
        for name, buffer in encoder.named_buffers():
            if name.endswith("num_batches_tracked"):
                buffer.fill_(self.steps)  # as counted, it would depend on the number of processes
        return encoder

    def _learn(self, patches: Patches, stop: bool) -> bool:
        """Take one step, and what is due after it; return whether to stop."""
        views = make_views(patches, self.settings, self.processes, self.step, self.device)
        rate = cosine_rate(self.settings.learning_rate, self.step, self.steps, self.settings.warmup_steps)
        measures, wishes = self.contrast.step(views, rate, stop)
        self.step += 1
        self.telemetry.add(self.step, measures)
        if self.settings.probe_steps and self.step % self.settings.probe_steps == 0:
            self._judge()
        self.telemetry.write_due(self.step, rate)
        return self._agreed(stop, wishes)

    def _judge(self) -> None:
        if self.probe and self._leads:
            begin = time.monotonic()
            score = self.probe(self.contrast.encoder)
            self.telemetry.probed(self.step, score, time.monotonic() - begin)

    def _agreed(self, stop: bool, wishes: Tensor) -> bool:
        """Whether to stop: with several processes where any wanted to one step ago, all at the same step.

        That step's answer has long arrived: to read this step's would be to wait for the device.
        """
        if self.processes.count == 1:
            return stop
        before, self._wishes = self._wishes, wishes
        return bool(before)

    def _remaining(self) -> Iterator[Patches]:
        for epoch in range(self.settings.epochs):
            done = self.step - epoch * self.epoch_steps
            if done < self.epoch_steps:
                batches = epoch_batches(self.bank.valid, self.settings, epoch)[done:]
                patches = read_batches(self.rows, batches)
                while True:
                    with self.telemetry.waiting():
                        following = next(patches, None)
                    if following is None:
                        break
                    yield following

    @property
    def _leads(self) -> bool:
        return self.processes.rank == 0


@dataclass
class _Stop:
    """Whether the process wants to stop: it was asked to, or its time is up (`deadline`, of `time.monotonic`)."""

    deadline: float
    requested: bool = False

    @property
    def wanted(self) -> bool:
        return self.requested or time.monotonic() > self.deadline


@contextmanager
def _stop_requests(deadline: float) -> Iterator[_Stop]:
    """Note SIGTERM and Ctrl-C instead of dying of them, so that the step in hand ends and is saved."""
    stop = _Stop(deadline)

    def note(signum: int, frame: object) -> None:
        stop.requested = True

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _device(settings: PretrainSettings) -> torch.device:
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise InputError("pretrain.device is 'cuda', but torch finds no GPU: use 'auto' or 'cpu'.")
    if settings.device == "cpu" or not available:
        return torch.device("cpu")
    if "LOCAL_RANK" in os.environ:  # torchrun's: one GPU per process
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return torch.device("cuda", torch.cuda.current_device())


def _check(bank: Bank, settings: PretrainSettings, device: torch.device) -> None:
    if settings.epochs and settings.precision == "bfloat16" and device.type == "cpu":
        raise InputError(
            "pretrain.precision is 'bfloat16', but without a GPU PyTorch gets the gradients of the last layers wrong: "
            "use 'float32'."
        )
    count, table = len(bank.participant_ids), bank.grid.neighbours.shape[1]
    if settings.epochs and settings.batch_size > count:
        raise InputError(
            f"pretrain.batch_size is {settings.batch_size}, but only {count} subjects were included: make it smaller."
        )
    if settings.epochs and settings.negatives != "batch" and settings.key_momentum is None:
        raise InputError(
            f"pretrain.key_momentum is null, and no key encoder fills a queue, but pretrain.negatives is "
            f"'{settings.negatives}': use 'batch', or a momentum."
        )
    if settings.epochs and settings.negatives != "batch" and settings.batch_size > settings.queue_size:
        raise InputError(
            f"pretrain.queue_size is {settings.queue_size}, less than a batch of {settings.batch_size} keys: raise it."
        )
    if settings.neighbours > table:
        raise InputError(f"pretrain.neighbours is {settings.neighbours}, but landmarks.neighbours is {table}.")
    counts = batches_per_landmark(bank.valid, settings)
    if settings.epochs and not counts.any():
        raise InputError(
            f"No landmark has {settings.batch_size // settings.groups} valid subjects in each of "
            f"{settings.groups} groups: make pretrain.batch_size or pretrain.groups smaller."
        )
    if settings.epochs and not counts.all():
        logger.warning("landmarks %s have too few valid subjects and are not trained on", np.flatnonzero(counts == 0))
