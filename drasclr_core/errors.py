"""The two errors that are the user's to mend; every other exception is a bug or a broken machine."""

import errno
from collections.abc import Mapping
from pathlib import Path


class InputError(Exception):
    """The user's data or configuration cannot be used.

    The message names the file or key, the value, what is allowed, and what to do.
    """


class QualityError(Exception):
    """One subject's data is readable but not good enough; the message gives the measurement and its limit.

    Parameters
    ----------
    message : str
    metrics : mapping, optional
        All that was measured, for the record.
    """

    def __init__(self, message: str, metrics: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.metrics = dict(metrics or {})


_FAULTS_OF_A_PATH = {
    *(errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS),
}
_MACHINE_WORDS = ("allocat", "out of memory", "no space left", "input/output error", "too many open files")


def is_path_fault(error: OSError) -> bool:
    """Return whether a path is wrong or may not be used; a lost disk, say, is the machine's fault."""
    return error.errno in _FAULTS_OF_A_PATH


def is_machine_fault(error: Exception) -> bool:
    """Return whether a library's error tells of memory or disk: such a job fails, and its subject is not excluded."""
    return any(word in str(error).lower() for word in _MACHINE_WORDS)


def printable(path: str | Path) -> str:
    r"""Return a path as text that any file may hold: a byte that is not UTF-8 becomes, say, \udcfc."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
