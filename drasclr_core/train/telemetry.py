"""What a training says of itself: metrics.csv, TensorBoard, the log."""

import csv
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_path
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.collapse import Collapse
from drasclr_core.train.measures import MEANS, MEASURES

logger = logging.getLogger(__name__)

COLUMNS = [
    "step",
    "loss_local",
    "loss_neighbour",
    "loss_local_relative",
    "loss_neighbour_relative",
    "top1_accuracy",
    "win_rate",
    "top1_fresh",
    "win_rate_fresh",
    "negatives",
    "negatives_age",
    "alignment",
    "uniformity",
    "effective_rank",
    "learning_rate",
    "patches_per_second",
    "waiting_share",
    "probe_score",
]
"""Averages over the steps since the last row, but for the step, its learning rate and the probe; empty where undefined.

``loss_*_relative`` are the losses over log(n + 1), n negatives and the positive: 1 for features that are all alike.
Independent random ones of C dimensions cost more by s^2 / 2 / log(n + 1), where s^2 = 1 / (C tau^2) is the variance of
a logit; a sum of k neighbours has k times that variance: with the paper's settings 1.01 and 1.02.
``top1_accuracy`` is how often the positive scored higher than every negative of the loss, ``win_rate`` how often it
scored higher than one of them: 0.5 by chance. Both are fooled by the age of the keys in a queue, since the positive is
new. ``top1_fresh`` and ``win_rate_fresh`` are the same against the other keys of the batch, which are as new as it.
``negatives`` is how many a query had, ``negatives_age`` how many steps ago they were made.
``alignment`` is the mean squared distance of a query to its key; ``uniformity`` the logarithm of the mean of
exp(-2 |x - y|^2) over all pairs of queries of one batch and group (Wang and Isola 2020). Such a pair is of two subjects
at one landmark: what differs between landmarks alone does not count as spread.
``effective_rank`` is that of the features h of all queries of a batch (`measures.effective_rank`).
``waiting_share`` is the share of the time that the loop waited for patches. A GPU works on meanwhile: it was idle for
at most that share.
``probe_score`` is of the last probe since the row before; empty without one. Its time is not counted.
"""


@dataclass
class _Row:
    """A row begun: sums over its steps, and its seconds before the training was interrupted."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(len(MEASURES)))
    count: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    probe: float | None = None


class Telemetry:
    """A row of averages every `log_steps` steps.

    Parameters
    ----------
    work : path
        Folder for ``metrics.csv`` and ``tensorboard/``.
    settings : PretrainSettings
    steps : int
        Steps of the whole training; the last one ends a row.
    active : bool
        Whether this process writes; exactly one does.
    """

    def __init__(self, work: Path, settings: PretrainSettings, steps: int, active: bool) -> None:
        self.path, self.board_path = work / "metrics.csv", work / "tensorboard"
        self.settings, self.steps, self.active = settings, steps, active
        self._row = _Row()
        self._collapse = Collapse(steps)

    def start(self, step: int) -> None:
        """Open the files; what they hold of steps after `step` is cut away."""
        self._since = time.monotonic() - self._row.seconds
        if not self.active:
            return
        from torch.utils.tensorboard import SummaryWriter  # half a second that no other stage needs

        rows = self._rows_until(step)
        with atomic_path(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        for row in rows:
            self._collapse.add(row)
        self._board = SummaryWriter(str(self.board_path), purge_step=step + 1)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as spent waiting for patches."""
        begin = time.monotonic()
        yield
        self._row.waited += time.monotonic() - begin

    def probed(self, step: int, score: float | None, seconds: float) -> None:
        """Note the score of a probe, None where it could not be evaluated, and how long it took."""
        self._row.probe = score
        self._since += seconds
        logger.info("step %d: probe of %s in %.1f s: %s", step, self.settings.probe_task, seconds, score)

    def add(self, step: int, measures: Tensor) -> None:
        """Count the measures of a step, of `measures.MEASURES`; they stay on their device."""
        self._row.sums = self._row.sums.to(measures) + measures
        self._row.count += 1

    def write_due(self, step: int, learning_rate: float) -> None:
        """Write a row if one is due after `step`.

        Raises
        ------
        InputError
            If the loss is no longer finite.
        """
        if step % self.settings.log_steps and step != self.steps:
            return
        begun, now = self._row, time.monotonic()
        loss = float(begun.sums[:2].sum()) / begun.count
        if not math.isfinite(loss):
            raise InputError(f"The loss is {loss} at step {step}: make pretrain.learning_rate smaller.")
        seconds = now - self._since
        patches = begun.count * self.settings.batch_size * (2 + self.settings.neighbours)
        row = {
            "step": step,
            **self._averages(begun),
            "learning_rate": learning_rate,
            "patches_per_second": patches / seconds,
            "waiting_share": begun.waited / seconds,
            "probe_score": begun.probe,
        }
        self._row, self._since = _Row(), now
        if self.active:
            self._write(row)

    def _averages(self, begun: _Row) -> dict[str, float | None]:
        """Return what the measures of a row's steps come to."""
        measured = dict(zip(MEASURES, begun.sums.tolist(), strict=True))
        mean = {name: measured[name] / begun.count for name in MEANS}
        return {
            "loss_local": mean["loss_local"],
            "loss_neighbour": mean["loss_neighbour"],
            "loss_local_relative": _ratio(mean["loss_local"], mean["chance"]),
            "loss_neighbour_relative": _ratio(mean["loss_neighbour"], mean["chance"]),
            "top1_accuracy": _ratio(measured["hits"], measured["queries"]),
            "win_rate": _ratio(measured["wins"], measured["pairs"]),
            "top1_fresh": _ratio(measured["fresh_hits"], measured["fresh_queries"]),
            "win_rate_fresh": _ratio(measured["fresh_wins"], measured["fresh_pairs"]),
            "negatives": measured["pairs"] / (begun.count * self.settings.batch_size),
            "negatives_age": _ratio(measured["age"], measured["pairs"]),
            "alignment": mean["alignment"],
            "uniformity": math.log(mean["potential"]),
            "effective_rank": mean["effective_rank"],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the row begun."""
        return {**vars(self._row), "seconds": time.monotonic() - self._since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; to be called before `start`."""
        self._row = _Row(**state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.active:
            self._board.close()

    def _write(self, row: dict[str, Any]) -> None:
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        for name in COLUMNS[1:]:
            if row[name] is not None:
                self._board.add_scalar(name, row[name], row["step"])
        logger.info(
            "step %d of %d: local loss %.3f, neighbouring loss %.3f, top-1 %s (fresh %s), win rate %s (fresh %s), "
            "negatives' age %s, uniformity %.2f, effective rank %.1f, %.0f patches/s, waiting %.0f %%",
            *(row["step"], self.steps, row["loss_local"], row["loss_neighbour"]),
            *(_told(row[name]) for name in ("top1_accuracy", "top1_fresh", "win_rate", "win_rate_fresh")),
            *("-" if row["negatives_age"] is None else f"{row['negatives_age']:.0f}",),
            *(row["uniformity"], row["effective_rank"]),
            *(row["patches_per_second"], 100 * row["waiting_share"]),
        )
        if self._collapse.add(row):
            logger.warning("%s", self._collapse.warning)

    def _rows_until(self, step: int) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            complete = [row for row in csv.DictReader(file) if None not in row.values()]
        return [row for row in complete if int(row["step"]) <= step]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _told(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"
