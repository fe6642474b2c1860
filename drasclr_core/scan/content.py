"""What a scan is, whatever its name and place: the sum of its bytes."""

import hashlib
from pathlib import Path

from drasclr_core.base.errors import InputError, is_path_fault
from drasclr_core.base.files import file_sha256
from drasclr_core.base.paths import voxels_beside


def content_sha256(scan: str | Path) -> str:
    """Return the sha256 of a scan's bytes: of a file, of a header and its voxels beside it, of all files of a folder.

    The names of a folder's files do not count, nor do its subfolders.

    Raises
    ------
    InputError
        If a file may not be read.
    """
    path = Path(scan)
    if not (path.is_dir() or path.is_file()):  # of a pipe no end would come
        raise InputError(f"{path}: neither a file nor a folder that can be read: correct the path to the scan.")
    try:
        if path.is_dir():
            files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        else:
            files = [path]
            if beside := voxels_beside(path):
                files.append(beside)
        sums = [file_sha256(file) for file in files]
    except OSError as error:
        if not is_path_fault(error):
            raise
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions.") from error
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sorted(sums)).encode()).hexdigest()
