"""What a training says of itself: metrics.csv, TensorBoard, the log."""

import csv
import logging
import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from drasclr_core.io import atomic_path
from drasclr_core.settings import PretrainSettings

logger = logging.getLogger(__name__)

COLUMNS = [
    "step",
    "loss_local",
    "loss_neighbour",
    "loss_local_relative",
    "top1_accuracy",
    "learning_rate",
    "patches_per_second",
]
"""`loss_local_relative` is the local loss over log(K + 1), its value for features that tell nothing."""


class Telemetry:
    """A row of averages every `log_steps` steps.

    Parameters
    ----------
    work : path
        Folder for ``metrics.csv`` and ``tensorboard/``.
    settings : PretrainSettings
    active : bool
        Whether this process writes; exactly one does.
    """

    def __init__(self, work: Path, settings: PretrainSettings, active: bool) -> None:
        self.path, self.board_path = work / "metrics.csv", work / "tensorboard"
        self.settings, self.active = settings, active
        self._sums = torch.zeros(3)
        self._count = 0

    def start(self, step: int) -> None:
        """Open the files; what they hold of steps after `step` is cut away."""
        self._since = time.monotonic()
        if not self.active:
            return
        from torch.utils.tensorboard import SummaryWriter  # half a second that no other stage needs

        rows = self._rows_until(step)
        with atomic_path(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        self._board = SummaryWriter(str(self.board_path), purge_step=step + 1)

    def add(self, step: int, measures: Tensor, learning_rate: float, steps: int) -> None:
        """Count the measures of a step (local loss, neighbouring loss, top-1); write a row when one is due."""
        self._sums = self._sums.to(measures) + measures
        self._count += 1
        if step % self.settings.log_steps and step != steps:
            return
        local, neighbour, top1 = (self._sums / self._count).tolist()
        now = time.monotonic()
        patches = self._count * self.settings.batch_size * (2 + self.settings.neighbours)
        values = [step, local, neighbour, local / math.log(self.settings.queue_size + 1), top1, learning_rate]
        row = dict(zip(COLUMNS, [*values, patches / (now - self._since)], strict=True))
        self._sums, self._count, self._since = torch.zeros_like(self._sums), 0, now
        if self.active:
            self._write(row, steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages begun."""
        return {"sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._sums, self._count = state["sums"], state["count"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.active:
            self._board.close()

    def _write(self, row: dict[str, Any], steps: int) -> None:
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        for name in COLUMNS[1:]:
            self._board.add_scalar(name, row[name], row["step"])
        logger.info(
            "step %d of %d: local loss %.3f, neighbouring loss %.3f, top-1 %.2f, %.0f patches/s",
            *(row["step"], steps, row["loss_local"], row["loss_neighbour"]),
            *(row["top1_accuracy"], row["patches_per_second"]),
        )

    def _rows_until(self, step: int) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            complete = [row for row in csv.DictReader(file) if None not in row.values()]
        return [row for row in complete if int(row["step"]) <= step]
