"""A folder of unfinished work, for one job at a time on whatever machine."""

import errno
import fcntl
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from drasclr_core.base.errors import InputError

logger = logging.getLogger(__name__)

_PATIENCE_S = 600.0
"""How long a cancelled job may take to end: Slurm gives it time for a checkpoint."""

_POLL_S = 1.0
_UNLOCKABLE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of file systems without locks, such as some Lustre
_OF_SNAKEMAKE = re.compile(r"(^|_)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")  # the names of its jobs end so


def open_own(path: Path, flags: int, mode: str) -> IO[str]:
    """Open a file of ours, to be written to, which is made where there is none, and is no link.

    Raises
    ------
    InputError
        If it is a link, which anybody who shares the folder may have planted.
    """
    try:
        return open(os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o666), mode, encoding="utf-8")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link, which no workflow makes: remove it, then start again.") from None
        raise


@contextmanager
def alone_in(work: Path) -> Iterator[None]:
    """Make a folder and keep every other job out of it: a killed workflow may leave its jobs running.

    The folder's file ``lock`` is locked, and holds the number of the Slurm job that did so, for locks do not reach
    other machines on every file system. A job that Snakemake gave to Slurm cancels such a one that it finds here and
    waits for its end: Snakemake starts no second job for a result unless it no longer knows the first.

    Parameters
    ----------
    work : path

    Raises
    ------
    InputError
        If another job is there, and stays.
    """
    work.mkdir(parents=True, exist_ok=True)
    own = os.environ.get("SLURM_JOB_ID", "")
    with open_own(work / "lock", os.O_RDWR | os.O_APPEND, "a+") as lock:
        lock.seek(0)
        holder = lock.read().strip()
        if own and holder and own != holder:
            _end(holder, own, work)
        lock_or_refuse(lock, _occupied(work))
        _note(lock, own)
        work.mkdir(parents=True, exist_ok=True)  # the one before may have ended its work and removed it
        try:
            yield
        finally:
            _note(lock, "")


def is_taken(work: Path) -> bool:
    """Return whether a job is in a folder: it holds the lock, or Slurm runs the job that is noted there."""
    try:
        with (work / "lock").open("r") as lock:
            holder = lock.read().strip()
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, *_UNLOCKABLE):
            raise
        return error.errno == errno.EWOULDBLOCK
    return bool(holder and shutil.which("squeue") and _name(holder) is not None)


def _note(lock: IO[str], holder: str) -> None:
    lock.truncate(0)
    lock.write(holder)
    lock.flush()


def lock_or_refuse(lock: IO[str], refusal: InputError) -> None:
    """Lock an open file until it is closed, or raise `refusal` if it is locked; warn where there are no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise refusal from None
    except OSError as error:
        if error.errno not in _UNLOCKABLE:
            raise
        logger.warning("%s cannot be locked (%s): let no second workflow run here", lock.name, error.strerror)


def _end(holder: str, own: str, work: Path) -> None:
    """Cancel the Slurm job that a folder's lock names, if it runs, and wait until its last process has ended."""
    name = _name(holder)
    if name is None:
        return
    if not (_OF_SNAKEMAKE.search(name) and _OF_SNAKEMAKE.search(_name(own) or "")):
        raise _occupied(work)
    logger.warning("cancelling Slurm's job %s, which an earlier run of the workflow left in %s", holder, work)
    subprocess.run(["scancel", holder], check=True)
    deadline = time.monotonic() + _PATIENCE_S
    while _name(holder) is not None:
        if time.monotonic() > deadline:
            raise _occupied(work)
        time.sleep(_POLL_S)


def _name(job: str) -> str | None:
    """Return the name of a job that Slurm has not ended; None where there is none.

    A Slurm that does not answer is an error: a job that was taken for ended would be trained beside.
    """
    command = ["squeue", "--noheader", "--jobs", job, "--format=%j"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode and "Invalid job id" not in answer.stderr:  # said of a job that Slurm has forgotten
        raise RuntimeError(f"squeue failed: {answer.stderr.strip()}")
    return answer.stdout.strip() or None


def _occupied(work: Path) -> InputError:
    return InputError(f"Another training still writes to {work}: wait for it or end it, then start again.")
