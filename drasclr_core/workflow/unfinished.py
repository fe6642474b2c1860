"""Trainings that were begun and have not ended, and which of them no later one needs."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from drasclr_core.base.errors import DamagedError, InputError
from drasclr_core.base.files import read_json, write_json
from drasclr_core.base.locks import is_taken

WORK = Path("work")
"""Where unfinished trainings lie, a folder each."""

_NOTE = "training.json"

RUNS, GOES_ON, SUPERSEDED, UNKNOWN = "is running", "goes on when started again", "superseded", "of an earlier version"


@dataclass(frozen=True)
class UnfinishedTraining:
    """A folder of unfinished work.

    Attributes
    ----------
    folder : path
    model : str
        The model folder that it was to become; empty where an earlier version began it.
    step : int
        Of its newest checkpoint; 0 without one.
    written : datetime
        When it was last written to.
    size_bytes : int
    state : str
        Whether it runs, goes on when it is started again, or is superseded: its model was written after it, or other
        work for the same model.
    """

    folder: Path
    model: str
    step: int
    written: datetime
    size_bytes: int
    state: str

    def __str__(self) -> str:
        size = f"{self.size_bytes / 1e6:.0f} MB"
        return (
            f"{self.folder}: {self.model or '?'}, step {self.step}, {size}, {self.written:%Y-%m-%d %H:%M}: {self.state}"
        )


def note_training(work: Path, model: Path) -> None:
    """Note in a folder of work which model it is to become."""
    write_json(work / _NOTE, {"model": str(model)})


def unfinished_trainings(root: Path = WORK) -> list[UnfinishedTraining]:
    """Return the trainings that are not finished, the newest first; `root` lies in the project's folder."""
    folders = [each for each in root.iterdir() if each.is_dir() and not each.is_symlink()] if root.is_dir() else []
    written = {folder: _written(folder) for folder in folders}
    found: list[UnfinishedTraining] = []
    for folder in sorted(folders, key=written.__getitem__, reverse=True):
        model, moment = _model_of(folder), datetime.fromtimestamp(written[folder])
        later = any(other.model == model for other in found) or _is_older(moment, root.parent / model / "model.json")
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        state = _state(folder, model, superseded=later)
        found.append(UnfinishedTraining(folder, model, _step(files), moment, size, state))
    return found


def chosen_trainings(folders: Iterable[Path], root: Path = WORK) -> list[UnfinishedTraining]:
    """Return the unfinished trainings in these folders of `root`; InputError if one is none."""
    known = {each.folder.resolve(): each for each in unfinished_trainings(root)}
    for folder in folders:
        if folder.resolve() not in known:
            raise InputError(f"{folder} is no unfinished training; there are: {', '.join(map(str, known)) or 'none'}.")
    return [known[folder.resolve()] for folder in folders]


def remove_unfinished(folders: Iterable[Path], root: Path = WORK) -> list[UnfinishedTraining]:
    """Remove folders of work; return what they were.

    Raises
    ------
    InputError
        If one is none, or its training runs; nothing is removed then.
    """
    chosen = chosen_trainings(folders, root)
    for each in chosen:
        if each.state == RUNS:
            raise InputError(f"{each.folder}: its training runs: end it first.")
    for each in chosen:
        shutil.rmtree(each.folder)
    return chosen


def _state(folder: Path, model: str, *, superseded: bool) -> str:
    if is_taken(folder):
        return RUNS
    if not model:
        return UNKNOWN
    return SUPERSEDED if superseded else GOES_ON


def _is_older(moment: datetime, path: Path) -> bool:
    """Return whether a file is there and was written after a moment."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime) > moment
    except FileNotFoundError:
        return False


def _model_of(folder: Path) -> str:
    """Return the model that a folder of work is to become; nothing where an earlier version, or no one, noted it."""
    try:
        return str(read_json(folder / _NOTE)["model"])
    except (FileNotFoundError, DamagedError, TypeError, KeyError):
        return ""


def _step(files: Iterable[Path]) -> int:
    steps = [re.fullmatch(r"checkpoint-([0-9]+)\.pt", path.name) for path in files]
    return max((int(step[1]) for step in steps if step), default=0)


def _written(folder: Path) -> float:
    """Return when a folder was last written to; its lock is opened by whoever looks."""
    return max(path.lstat().st_mtime for path in [folder, *folder.rglob("*")] if path.name != "lock")
