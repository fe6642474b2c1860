"""Folders of a whole workflow: its results, for one workflow at a time, and its temporary files, for it alone."""

import atexit
import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import IO

from drasclr_core.base.errors import InputError
from drasclr_core.base.locks import lock_or_refuse, open_own

LOCK = ".workflow.lock"
"""The file in the folder of results that a running workflow keeps locked."""


def hold_results(results: Path) -> IO[str]:
    """Keep every other workflow out of a folder of results until this process and its jobs end, however they end.

    Snakemake's own lock lies in the working directory: it tells nothing of a workflow in another one, of which
    ``results`` is a link to the same folder.

    Returns
    -------
    file
        To be kept open, and inherited by the jobs.

    Raises
    ------
    InputError
        If another workflow is there, or jobs of one that was killed.
    """
    results.mkdir(parents=True, exist_ok=True)
    lock = _open_lock(results / LOCK)
    holder = lock.read().strip()
    refusal = InputError(
        f"Another workflow writes to {results.resolve()} ({holder}): wait for it or end it, then start again. Only if "
        f"that machine is dead, remove {lock.name}."
    )
    try:
        lock_or_refuse(lock, refusal)
    except InputError:
        lock.close()
        left = _processes_with(results.resolve() / LOCK)
        if left and holder not in map(_name, left):
            raise InputError(
                f"Jobs of a workflow that was killed still write to {results.resolve()} (processes "
                f"{', '.join(map(str, left))}): wait for them or end them, then start again."
            ) from None
        raise
    if lock.writable():
        lock.truncate(0)
        lock.write(f"{_name(os.getpid())}\n")
        lock.flush()
    return lock


def _open_lock(path: Path) -> IO[str]:
    """Open the file; one of another user need only be readable to be locked."""
    for flags, mode in ((os.O_RDWR, "r+"), (os.O_RDONLY, "r")):
        try:
            return open_own(path, flags, mode)
        except PermissionError:
            continue
    raise InputError(
        f"{path} belongs to {path.owner()} and may not be read: ask for `chmod a+r` on it, or remove it if no workflow "
        "runs there."
    )


def _name(process: int) -> str:
    return f"process {process} on {socket.gethostname()}"


def _processes_with(path: Path) -> list[int]:
    """Return the processes of this machine that have a file open; none where the system does not tell (Linux does)."""
    found = set()
    for link in glob("/proc/[0-9]*/fd/*"):
        with suppress(OSError):  # it has just been closed, or is another user's
            if os.readlink(link) == str(path):
                found.add(int(link.split("/")[2]))
    return sorted(found)


def register_temporary(registry: Path, folders: Iterable[str | Path]) -> IO[str]:
    """Note the temporary folders of this process.

    Parameters
    ----------
    registry : path
        A folder with a file per running process, which the process keeps locked.
    folders : iterable of paths
        This process's own.

    Returns
    -------
    file
        To be kept open by the process, and by its jobs.
    """
    registry.mkdir(parents=True, exist_ok=True)
    own = registry.resolve() / f"{socket.gethostname()}-{os.getpid()}"
    note = open_own(own, os.O_WRONLY | os.O_TRUNC, "w")
    _locks(note)
    note.write("".join(f"{Path(folder).resolve()}\n" for folder in folders))
    note.flush()
    atexit.register(own.unlink, missing_ok=True)
    return note


def clear_temporary(registry: Path, folders: Iterable[str | Path], scripts: Path) -> None:
    """Remove the temporary folders of processes of this machine that were killed, and their notes.

    A note is a file that anybody who shares the project may write: what it names is removed only if it is this user's,
    lies beside one of this process's own folders, and has a name that Snakemake gives to such a folder.

    Parameters
    ----------
    registry : path
        As of `register_temporary`.
    folders : iterable of paths
        This process's own.
    scripts : path
        A folder that is emptied where no other noted process runs.
    """
    parents = {Path(folder).resolve().parent for folder in folders}
    notes = [note for note in registry.iterdir() if note.name != f"{socket.gethostname()}-{os.getpid()}"]
    ended = [_clear_up(note, parents) for note in notes]
    if all(ended) and scripts.is_dir() and not scripts.is_symlink():
        for script in scripts.iterdir():
            script.unlink()


def _clear_up(note: Path, parents: set[Path]) -> bool:
    """Remove a noted process's folders, and the note, if it no longer runs; return whether that is so."""
    if not note.name.startswith(f"{socket.gethostname()}-"):
        return False  # locks tell nothing of another machine's processes on every file system
    try:
        file = note.open("r+")
    except FileNotFoundError:  # it has just ended
        return True
    except PermissionError:
        return False
    with file:
        if not _locks(file):
            return False
        for folder in map(Path, file.read().splitlines()):
            if folder.parent in parents and _is_own_temporary(folder):
                shutil.rmtree(folder, ignore_errors=True)
        note.unlink(missing_ok=True)
        return True


def _is_own_temporary(folder: Path) -> bool:
    """Return whether a path is a folder of this user, no link, named as Snakemake names its temporary ones."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    named = folder.name.startswith("snakemake") or folder.parent.name == "snakemake-runtime-cache"
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and named


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is another's, or there are no locks here
        return False
    return True
