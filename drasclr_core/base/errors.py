"""The errors that are the user's to mend; every other exception is a bug or a broken machine."""

import errno
import re
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


class DamagedError(ValueError):
    """A result of ours is no longer what was written; it excludes nobody, and the same command makes it again.

    Parameters
    ----------
    path : path
        The damaged file.
    what : str
        What is wrong with it.
    """

    def __init__(self, path: str | Path, what: str) -> None:
        path = Path(path)
        # A store and a subject's folder are made as a whole.
        whole = next((folder for folder in path.parents if folder.suffix == ".zarr"), path)
        if (whole.parent / "record.json").exists():
            whole = whole.parent
        super().__init__(f"{path} is damaged ({what}): remove {whole}, and the same command makes it again.")


_FAULTS_OF_A_PATH = {
    *(errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS),
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MACHINE_WORDS = ("allocat", "out of memory", "no space left", "input/output error", "too many open files")


def is_path_fault(error: OSError) -> bool:
    """Return whether a path is wrong or may not be used; a lost disk, say, is the machine's fault."""
    return error.errno in _FAULTS_OF_A_PATH


def is_machine_fault(error: Exception) -> bool:
    """Return whether a library's error tells of memory or disk: such a job fails, and its subject is not excluded."""
    return any(word in str(error).lower() for word in _MACHINE_WORDS)


def printable(path: str | Path) -> str:
    r"""Return a path as text for files and terminals: a byte that is not UTF-8 becomes \udcfc, a line break \x0a."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
