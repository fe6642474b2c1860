"""Trainings that were begun and have not ended, and which of them no later one needs."""

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
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
    newest_first = sorted(folders, key=_written, reverse=True)
    models = {folder: _model_of(folder) for folder in newest_first}
    found = []
    for folder in newest_first:
        later = [other for other in newest_first[: newest_first.index(folder)] if models[other] == models[folder]]
        files = [path for path in folder.rglob("*") if path.is_file()]
        written = datetime.fromtimestamp(_written(folder))
        state = _state(folder, root.parent, models[folder], superseded=bool(later))
        size = sum(path.stat().st_size for path in files)
        found.append(UnfinishedTraining(folder, models[folder], _step(files), written, size, state))
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


def _state(folder: Path, project: Path, model: str, *, superseded: bool) -> str:
    if is_taken(folder):
        return RUNS
    if not model:
        return UNKNOWN
    with suppress(FileNotFoundError):
        superseded |= (project / model / "model.json").stat().st_mtime > _written(folder)
    return SUPERSEDED if superseded else GOES_ON


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
