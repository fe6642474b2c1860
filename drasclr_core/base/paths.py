"""Paths that users give: whether they can be used, and how much is there."""

import os
import re
import stat
from pathlib import Path

from drasclr_core.base.errors import InputError, is_path_fault, printable

_HEADERS_ALONE = (".mhd", ".nhdr")
_DATA_FILE = re.compile(rb"(?m)^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*([^\r\n]*?)[ \t\r]*$")
_HEADER_BYTES = 1 << 16


def check_name(path: Path) -> None:
    """Refuse a path that is not UTF-8, as of old archives (SimpleITK would end the process), or not printable.

    Raises
    ------
    InputError
        Of such a path.
    """
    if printable(path) != str(path):
        raise InputError(f"{printable(path)}: the name is not UTF-8, or not printable: rename the file or its folder.")


def path_cell(path: str) -> str:
    """Return a relative path as a table's cell that no spreadsheet takes for a formula: behind ``./``."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@")) else path


def check_writable(path: Path) -> None:
    """Refuse a file or folder that could not be written, before the work for it is done; missing parents are made.

    Raises
    ------
    InputError
        If `path` is a folder, or lies in one that may not be written to.
    """
    above = next((parent for parent in path.absolute().parents if parent.exists()), path)
    if path.is_dir() or not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise InputError(f"{path} cannot be written: give a new name in a folder that may be written to.")


def cache_folder() -> Path:
    """Return the user's folder for downloads: ``$XDG_CACHE_HOME/drasclr``, or ``~/.cache/drasclr``.

    Raises
    ------
    InputError
        If the user has no home, as in some containers.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "drasclr"
    try:
        return Path.home() / ".cache" / "drasclr"
    except RuntimeError:
        raise InputError(
            "This user has no home folder: set HOME or XDG_CACHE_HOME, or give the file itself (--target of "
            "fetch-weights, --lung-weights of embed, detect and qc)."
        ) from None


def readable_size(path: str | Path) -> int | None:
    """Return the bytes of a file, or the entries of a folder; None where there is none that this user may read.

    A header whose voxels are in a file beside it counts with that file.

    Raises
    ------
    OSError
        If the machine is at fault, such as a lost disk: nothing is known of the file then.
    """
    try:
        status = os.stat(path)
        is_folder = stat.S_ISDIR(status.st_mode)
        if not os.access(path, os.R_OK | os.X_OK if is_folder else os.R_OK):
            return None
        beside = voxels_beside(Path(path))
        return len(os.listdir(path)) if is_folder else status.st_size + (beside.stat().st_size if beside else 0)
    except FileNotFoundError:
        return None
    except OSError as error:
        if not is_path_fault(error):
            raise
        return None


def voxels_beside(path: Path) -> Path | None:
    """Return the file of voxels that a header alone names; None where there is none, or the path is of no header."""
    if path.suffix.lower() not in _HEADERS_ALONE or path.is_dir():
        return None
    with path.open("rb") as file:
        named = _DATA_FILE.search(file.read(_HEADER_BYTES))
    beside = path.with_name(os.path.basename(named[1].decode("latin-1")) or ".") if named else path
    return beside if beside != path and beside.is_file() else None
