"""Tables of features that grow: what is there stays, and what a killed call has done is not done again."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_path
from drasclr_core.base.locks import lock_or_refuse, open_own
from drasclr_core.model.embed_scan import ScanFeatures
from drasclr_core.model.embed_tables import SCANS, Tables, about_model, feature_tables, landmarks_path, write_tables
from drasclr_core.model.folder import Model

_ARRAYS = ("mean", "landmarks", "valid", "landmarks_mm")


def unfinished_path(path: str | Path) -> Path:
    """Return the folder that keeps the features of finished scans until the tables are written."""
    path = Path(path)
    return path.with_name(f"{path.stem}.unfinished")


@dataclass
class GrowingTable:
    """The tables at a path, and beside them, in `unfinished_path`, the features that are to join them.

    Attributes
    ----------
    path : path
        Of the means.
    model : Model
    known : dict
        sha256 of a scan's content -> its name, of all that is in the tables or beside them.
    """

    path: Path
    model: Model
    known: dict[str, str] = field(default_factory=dict)
    _old: Tables | None = None

    def add(self, scan: str, sha256: str, features: ScanFeatures) -> None:
        """Keep the features of a scan on the disk."""
        about = json.dumps({"scan": scan, **about_model(self.model)})
        arrays = {name: getattr(features, name) for name in _ARRAYS}
        with atomic_path(unfinished_path(self.path) / f"{sha256}.npz") as partial:
            np.savez(partial, about=np.array(about), **arrays)
        self.known[sha256] = scan

    def write(self, scans: Sequence[str]) -> bool:
        """Write both tables anew: the old rows, those of earlier calls, those of `scans` in their order.

        Return whether there is a row at all.
        """
        places = {scan: place for place, scan in enumerate(scans)}
        parts = sorted(self.unwritten().items(), key=lambda part: (places.get(part[1], -1), part[1]))
        if parts:
            found = {scan: self._load(sum_) for sum_, scan in parts}
            new = feature_tables(found, self.model, {scan: sum_ for sum_, scan in parts})
            write_tables(new, self.path, before=self._old)
        _remove(unfinished_path(self.path))
        return bool(self.known)

    def unwritten(self) -> dict[str, str]:
        """Return sha256 -> name of each scan beside the tables that is not in them.

        Both have it if a call was killed between its last two steps.
        """
        paths = sorted(unfinished_path(self.path).glob("[!.]*.npz"))
        there = self._old.means.attrs[SCANS].values() if self._old else ()
        return {path.stem: _name_of(path, self.model) for path in paths if path.stem not in there}

    def _load(self, sha256: str) -> ScanFeatures:
        with np.load(unfinished_path(self.path) / f"{sha256}.npz") as part:
            return ScanFeatures(**{name: part[name] for name in _ARRAYS}, metrics={})


def _is_ours(path: Path) -> bool:
    """Return whether a file in the folder of finished scans is one of `GrowingTable`, or of an interrupted writing."""
    return path.is_file() and not path.is_symlink() and (path.name == "lock" or ".npz" in path.name)


def _remove(work: Path) -> None:
    for path in filter(_is_ours, work.iterdir()):
        path.unlink()
    work.rmdir()


def _name_of(path: Path, model: Model) -> str:
    """Return whose features a file holds, once all of it was read."""
    damaged = InputError(f"{path} is damaged: remove it, and its scan is embedded again.")
    try:
        with np.load(path) as part:
            about: dict[str, Any] = json.loads(str(part["about"]))
            scan = str(about["scan"])
            arrays = [part[name] for name in _ARRAYS]
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, BadZipFile) as error:
        raise damaged from error
    _check_same(path.parent, about, about_model(model))
    count, dim = len(model.grid), model.encoder.output_dim
    shapes = [(dim,), (count, dim), (count,), (count, 3)]
    if [each.shape for each in arrays] != shapes or not np.isfinite(arrays[0]).all():
        raise damaged
    return scan


@contextmanager
def growing_table(path: Path, model: Model) -> Iterator[GrowingTable]:
    """Yield the tables at a path, which need not be there yet, for one call at a time.

    Raises
    ------
    InputError
        If they are not of this model and these features, are not whole, or another call adds to them.
    """
    work, table = unfinished_path(path), GrowingTable(path, model)
    if work.is_symlink() or (work.exists() and any(not _is_ours(each) for each in work.iterdir())):
        raise InputError(f"{work} holds what no call of ours put there: give another output, or move it away.")
    work.mkdir(exist_ok=True)
    with open_own(work / "lock", os.O_WRONLY | os.O_APPEND, "a") as lock:
        lock_or_refuse(lock, InputError(f"Another call adds to {path}: wait for it or end it, then start again."))
        try:
            if path.exists():
                table._old = _read(path, model)
                table.known |= {sum_: scan for scan, sum_ in table._old.means.attrs[SCANS].items()}
            table.known |= table.unwritten()
            yield table
        finally:
            if work.exists() and not any(work.glob("*.npz")):
                _remove(work)


def _read(path: Path, model: Model) -> Tables:
    """Return the tables at a path; of landmarks only the rows that are in the means too: these are written last."""
    import pandas as pd

    try:
        means, each = pd.read_parquet(path), pd.read_parquet(landmarks_path(path))
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is missing: {path} cannot be added to; write to a new file.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} or {landmarks_path(path)} is no Parquet file: write to a new file.") from error
    if SCANS not in means.attrs:
        raise InputError(f"{path} does not say which scans it holds (was it changed?): write to a new file.")
    _check_same(path, means.attrs, about_model(model))
    each = each[each["scan"].isin(means["scan"])].reset_index(drop=True)
    names, count = means["scan"].tolist(), len(model.grid)
    whole = [name for name in names for _ in range(count)]
    if names != list(means.attrs[SCANS]) or each["scan"].tolist() != whole:
        raise InputError(f"{path} and {landmarks_path(path)} do not hold the same scans: write to a new file.")
    return Tables(means, each)


def _check_same(path: Path, there: Mapping[Any, Any], ours: Mapping[str, Any]) -> None:
    """Refuse what another model, or other features, made."""
    for name, value in ours.items():
        if there.get(name) != value and name in ("features", "model"):
            told = f"{there.get(name)}, not {value}" if name == "features" else "of another model"
            raise InputError(f"{path}: the features there are {told}: give another output.")
