"""Whether a training collapsed: the features of different subjects became one point, or one line."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNIFORMITY = -0.2
"""Above it queries of different subjects are nearly one point (Wang and Isola 2020: 0 where all are one)."""
EFFECTIVE_RANK = 2.0
"""Below it the features h of a batch hardly leave a line."""
SHARE = 0.1
"""Share of the training that it must last for, without a break."""


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
    _begin: int = 0
    _uniformity: list[float] = field(default_factory=list)  # of the stretch of collapsed rows in hand
    _rank: list[float] = field(default_factory=list)
    _warning: str | None = None

    @property
    def warning(self) -> str | None:
        """What was found so far, of the last long enough stretch of collapsed rows; None without one."""
        return self._warning

    def add(self, row: Mapping[str, Any]) -> bool:
        """Take the next row; return whether with it a stretch has become long enough.

        Parameters
        ----------
        row : mapping
            ``step``, ``uniformity`` and ``effective_rank``, numbers or text. A column may be missing, as the last is
            in files of earlier versions.
        """
        before, self._step = self._step, int(row["step"])
        uniformity, rank = _number(row.get("uniformity"), -math.inf), _number(row.get("effective_rank"), math.inf)
        if not (uniformity > UNIFORMITY or rank < EFFECTIVE_RANK):
            self._uniformity, self._rank = [], []
            return False
        if not self._uniformity:
            self._begin = before
        self._uniformity.append(uniformity)
        self._rank.append(rank)
        if self._step - self._begin < SHARE * self.steps:
            return False
        self._warning = self._told()
        return before - self._begin < SHARE * self.steps

    def _told(self) -> str:
        highest, lowest = max(self._uniformity), min(self._rank)
        point = f"one point (uniformity up to {highest:.2f}; above {UNIFORMITY} is a collapse)"
        line = f"one line (effective rank down to {lowest:.1f}; below {EFFECTIVE_RANK:g} is a collapse)"
        places = [point] * (highest > UNIFORMITY) + [line] * (lowest < EFFECTIVE_RANK)
        return (
            f"the training collapsed: from step {self._begin + 1} to {self._step} of {self.steps} the features of "
            f"different subjects were nearly {', '.join(places)}"
        )


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
