"""Atomic writes, and the record that every per-subject folder holds."""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import Any

from drasclr_core.base.errors import DamagedError, InputError, QualityError
from drasclr_core.base.version import __version__

logger = logging.getLogger(__name__)

RECORD = "record.json"
CT, LUNGS, TRANSFORM = "ct.nii.gz", "lungs.nii.gz", "atlas_to_subject.mat"
"""What the stages ingest, segment and register write beside their record (a phantom's folder holds the first two)."""

_UMASK = os.umask(0)  # asked for once: to ask is to change it for a moment, for all threads
os.umask(_UMASK)
_OF_PATH = re.compile(r"\.\d+$")  # what precedes a path's name while it is written: the process


@dataclass(frozen=True)
class Record:
    """What one stage says of one subject; `metrics` hold plain JSON values with units in their names."""

    participant_id: str
    stage: str
    status: str  # "ok" or "excluded"
    excluded_by: str | None = None  # the stage that excluded it: this or an earlier one, or "table"
    reason: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    sha256: dict[str, str] = field(default_factory=dict)  # as of `own_sums`; empty in earlier versions

    @property
    def excluded(self) -> bool:
        """Whether the subject left the cohort at this stage or before it."""
        return self.status == "excluded"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there only if the block succeeds, and its content is on the disk.

    What a killed writer of the same path has left is removed: there is one at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stray in path.parent.glob(f".*.{escape(path.name)}"):
        if _OF_PATH.match(stray.name.removesuffix(f".{path.name}")):
            stray.unlink(missing_ok=True)
    # The suffix stays last: image writers choose the format by it.
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; let it take the place of `path` only if the block succeeds.

    An empty folder already at `path` (Snakemake makes one before the job) or an older result is replaced. What a killed
    writer of the same path has left is removed: there is one at a time.

    Raises
    ------
    RuntimeError
        If another writer of the same path has removed the folder, which some libraries make again without a word.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_partials(path)
    partial = _beside(path)
    partial.chmod(0o777 & ~_UMASK)
    made = os.open(partial, os.O_RDONLY)  # while it is open no other folder gets its number
    try:
        yield partial
        if not (partial.exists() and os.path.samestat(partial.stat(), os.fstat(made))):
            raise RuntimeError(f"{partial} was removed while it was written: does another job write {path} too?")
        for file in partial.rglob("*"):
            _to_disk(file)
        if path.exists():
            os.replace(path, _beside(path))  # aside: an older result is never seen half removed
        os.replace(partial, path)
    finally:
        os.close(made)
        _remove_partials(path)


def _to_disk(path: Path) -> None:
    """Have a file's content written: a power cut could else leave its name without it, which counts as done."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))


def _remove_partials(path: Path) -> None:
    for partial in [*path.parent.glob(f".{escape(path.name)}.????????")]:
        with suppress(OSError):  # what cannot be removed, or has just been, is no fault of what is published
            # Renamed first: a writer that is alive after all would go on in what has not been removed yet.
            gone = partial.rename(path.with_name(f".{path.name}.{token_hex(4)}"))
            shutil.rmtree(gone, ignore_errors=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; NaN is refused because JSON has none."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file of ours.

    Raises
    ------
    DamagedError
        If it cannot be parsed.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"no JSON: {error}") from error


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of a folder's files, for its record: of all but the .gz, which hold a checksum of their own."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".gz"]
    return {path.name: file_sha256(path) for path in files}


def undamaged(path: str | Path) -> Path:
    """Return the path of a file, once its content is that of which the record beside it tells, if it does.

    Raises
    ------
    DamagedError
        If it is another.
    """
    path = Path(path)
    record = path.with_name(RECORD)
    told = read_json(record).get("sha256", {}).get(path.name) if record.exists() else None
    if told and file_sha256(path) != told:
        raise DamagedError(path, f"its sha256 is not the one that {RECORD} tells")
    return path


def read_record(folder: str | Path) -> Record:
    """Return the record of a per-subject stage folder."""
    path = Path(folder) / RECORD
    content = read_json(path)
    try:
        return Record(**content)
    except TypeError as error:
        raise DamagedError(path, f"no record: {error}") from error


def write_record(folder: str | Path, record: Record) -> None:
    """Write the record of a per-subject stage folder."""
    write_json(Path(folder) / RECORD, asdict(record))


def run_subject_stage(
    folder: str | Path,
    stage: str,
    participant_id: str,
    upstream: Iterable[str | Path],
    work: Callable[[Path], dict[str, Any]],
    exclude_reason: str | None = None,
) -> Record:
    """Run one stage of one subject and publish its folder, complete, with its record.

    Parameters
    ----------
    folder : path
        The stage's output folder; it appears, whole, only when the stage has ended.
    stage, participant_id : str
        Named in the record.
    upstream : iterable of paths
        Folders of the stages this one reads. If one is excluded, so is this, for the same reason.
    work : callable
        Called with the folder under construction; writes its files there and returns the record's metrics.
        InputError and QualityError exclude the subject, the latter with its metrics; any other exception leaves nothing
        behind and is raised.
    exclude_reason : str, optional
        A reason to exclude the subject without any work (the participants table's `exclude_reason`).

    Returns
    -------
    Record
        As written to ``record.json``.
    """
    start = time.perf_counter()
    excluded_by, reason = ("table", exclude_reason) if exclude_reason else _first_exclusion(upstream)
    metrics: dict[str, Any] = {}
    with atomic_directory(folder) as partial:
        if reason is None:
            try:
                metrics = work(partial)
            except (InputError, QualityError) as error:
                excluded_by, reason = stage, str(error)
                metrics = error.metrics if isinstance(error, QualityError) else {}
                logger.warning("%s excluded by %s: %s", participant_id, stage, reason)
                _empty(partial)
            except DamagedError:
                raise  # of a stage before: it names its remedy
            except Exception as error:
                error.add_note(
                    f"{participant_id} failed in {stage}. If it does every time, leave it out: give a reason in the "
                    "column exclude_reason of the participants table."
                )
                raise
        record = Record(
            participant_id=participant_id,
            stage=stage,
            status="ok" if reason is None else "excluded",
            excluded_by=excluded_by,
            reason=reason,
            metrics=metrics,
            versions={"drasclr": __version__},
            seconds=round(time.perf_counter() - start, 3),
            sha256=own_sums(partial),
        )
        write_record(partial, record)
    return record


def _first_exclusion(folders: Iterable[str | Path]) -> tuple[str | None, str | None]:
    for folder in folders:
        record = read_record(folder)
        if record.excluded:
            return record.excluded_by, record.reason
    return None, None


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
