"""Whether a training collapsed: the features of different subjects became one point, or one line."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNIFORMITY = -0.2
"""Above it queries of different subjects are nearly one point (Wang and Isola 2020: 0 where all are one)."""
EFFECTIVE_RANK = 2.0
"""Below it the features h of a batch hardly leave a line."""
SHARE = 0.1
"""Share of the training's steps from which on it is told."""


@dataclass
class Collapse:
    """Watches the rows of a training's ``metrics.csv`` for a collapse.

    Parameters
    ----------
    steps : int
        Of the whole training.
    """

    steps: int
    _step: int = 0
    _collapsed: int = 0  # steps, of the rows so far
    _first: int = 0  # and the last of these
    _last: int = 0
    _uniformity: float = -math.inf
    _rank: float = math.inf

    @property
    def warning(self) -> str | None:
        """What is to be said of the rows so far; None where they did not collapse for long enough."""
        if not self._collapsed or self._collapsed < SHARE * self.steps:
            return None
        point = f"one point (uniformity up to {self._uniformity:.2f}; above {UNIFORMITY} is a collapse)"
        line = f"one line (effective rank down to {self._rank:.1f}; below {EFFECTIVE_RANK:g} is a collapse)"
        found = [point] * (self._uniformity > UNIFORMITY) + [line] * (self._rank < EFFECTIVE_RANK)
        return (
            f"the training collapsed: in {self._collapsed} of {self.steps} steps, from {self._first} to "
            f"{self._last}, the features of different subjects were nearly {', '.join(found)}"
        )

    def add(self, row: Mapping[str, Any]) -> bool:
        """Take the next row; return whether with it there is a warning for the first time.

        Parameters
        ----------
        row : mapping
            ``step``, ``uniformity`` and ``effective_rank``, numbers or text. A column may be missing, as the last is
            in files of earlier versions.
        """
        known, before, self._step = self.warning, self._step, int(row["step"])
        uniformity, rank = _number(row.get("uniformity"), -math.inf), _number(row.get("effective_rank"), math.inf)
        if not (uniformity > UNIFORMITY or rank < EFFECTIVE_RANK):
            return False
        self._collapsed += self._step - before
        self._first, self._last = self._first or before + 1, self._step
        self._uniformity, self._rank = max(self._uniformity, uniformity), min(self._rank, rank)
        return known is None and self.warning is not None


def collapse_of(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what is to be said of all rows of a finished training's metrics; None where it did not collapse."""
    found = Collapse(int(rows[-1]["step"]) if rows else 0)
    for row in rows:
        found.add(row)
    return found.warning


def read_collapse(metrics: str | Path) -> str | None:
    """Return `collapse_of` the rows of a ``metrics.csv``."""
    with Path(metrics).open(newline="") as file:
        return collapse_of(list(csv.DictReader(file)))


def embedding_warnings(record: Mapping[str, Any]) -> list[str]:
    """Return the warnings of the model behind features, from their ``record.json``; none of a method without one."""
    return list(record.get("model", {}).get("warnings", []))


def _number(cell: Any, unknown: float) -> float:
    """Return the number in a cell; `unknown`, which is no collapse, where there is none."""
    value = math.nan if cell in (None, "") else float(cell)
    return unknown if math.isnan(value) else value
