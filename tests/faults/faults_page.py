"""docs/faults.md: every kill, and what was going on then."""

import re
from dataclasses import dataclass
from itertools import groupby

from fault_plan import KILLS, plan
from workflow_run import ROOT

PAGE = ROOT / "docs" / "faults.md"
_KILLS = re.compile(r"(?<=^\| workflow \| kill \|)(.*\n\|[-|]+\n)((?:\|.*\n)*)", re.M)
_TIMES = re.compile(r"(?<=^\| workflow \| seconds)(.*\n\|[-|]+\n)((?:\|.*\n)*)", re.M)
_FIGURES = re.compile(r"^\*\*Kills: .*$", re.M)


@dataclass(frozen=True)
class Outcome:
    """The kills of a workflow that ended as the undisturbed one, and how long it took."""

    number: int
    kills: list
    seconds: float


def aims_of(text):
    """Return what the kills of the page were aimed at: number of the workflow, of its kill -> aim."""
    cells = [row.strip("| ").split(" | ") for row in _rows(text, _KILLS)]
    return {(int(number), int(kill)): aim for number, kill, aim, *_ in cells}


def updated(text, outcome):
    """Return the page with the rows of an outcome in it, instead of those of the same workflow."""
    number = outcome.number + 1
    text = _with(text, _KILLS, [_row(number, place, kill) for place, kill in enumerate(outcome.kills)], number)
    text = _with(text, _TIMES, [f"| {number} | {outcome.seconds:.0f} |"], number)
    kills, times = _rows(text, _KILLS), _rows(text, _TIMES)
    rules = {rule for row in kills for rule in re.findall(r"[a-z]+_[a-z_]+", row.split(" | ")[4])}
    figures = f"{len(kills)} of {KILLS}, in jobs of {len(rules)} rules. "
    figures += f"Workflows that ended as the undisturbed one: {len(times)} of {len(plan())}."
    return _FIGURES.sub(f"**Kills: {figures}**", text)


def _row(number, place, kill):
    aim = plan()[number - 1][place]
    writing = ", ".join(f"{count} {name}" if count > 1 else name for name, count in _counted(kill.unfinished))
    cells = [number, place + 1, aim, f"{kill.seconds:.1f}", kill.running, kill.ended, writing or "-", kill.step or "-"]
    return f"| {' | '.join(map(str, cells))} |"


def _counted(names):
    return [(name, len([*same])) for name, same in groupby(names)]


def _rows(text, table):
    return table.search(text)[2].splitlines()


def _with(text, table, rows, number):
    others = [row for row in _rows(text, table) if _number(row) != number]
    content = "".join(f"{row}\n" for row in sorted(others + rows, key=_number))  # the kills of one stay in their order
    return table.sub(lambda found: found[1] + content, text)


def _number(row):
    return int(row.split(" | ")[0].strip("| "))
