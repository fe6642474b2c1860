"""Find the scans below a folder: files by their suffix, a folder of DICOM files as a whole, and no label map."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from drasclr_core.base.errors import InputError, printable
from drasclr_core.cohort.imports.images import is_series, walk
from drasclr_core.scan.files import FORMATS
from drasclr_core.scan.labels import is_label_map


@dataclass
class Found:
    """Paths below a folder: scans, label maps, and what is neither or does not match."""

    scans: list[Path] = field(default_factory=list)
    label_maps: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)


def find_scans(folder: Path, match: str = "*") -> Found:
    """Return what lies below a folder, in the order of its names; links are followed once, hidden names passed over.

    Parameters
    ----------
    folder : path
    match : str
        What the name of a scan's file or folder must match: * any letters, ? one; capitals count.

    Raises
    ------
    InputError
        If a folder cannot be read, or holds a DICOM series and scans in files: one may be the other, converted.
    """
    found = Found()
    for path, names in walk(folder):
        files = [path / name for name in names if name.lower().endswith(tuple(FORMATS))]
        others = [path / name for name in names if path / name not in files]
        matching = [file for file in files if fnmatchcase(file.name, match)]
        labels = [file for file in matching if is_label_map(file)]
        scans = [file for file in matching if file not in labels]
        found.label_maps += labels
        found.other += [file for file in files if file not in matching]
        series = is_series(others)
        if series and fnmatchcase(path.name, match):
            _check_unmixed(path, scans)
            scans = [path]
        else:
            found.other += [path] if series else others
        found.scans += scans
    return found


def scans_of(given: str) -> tuple[list[str], Found | None]:
    """Return the scans that a path stands for: itself, or those below a folder that is no DICOM series.

    Returns
    -------
    list of str
    Found or None
        What lies below such a folder.

    Raises
    ------
    InputError
        As of `find_scans`.
    """
    path = Path(given)
    if not path.is_dir():
        return [given], None
    _, names = next(walk(path))
    if is_series([path / name for name in names]):
        files = [path / name for name in names if name.lower().endswith(tuple(FORMATS))]
        _check_unmixed(path, [file for file in files if not is_label_map(file)])
        return [given], None
    found = find_scans(path)
    return ([str(scan) for scan in found.scans], found) if found.scans else ([given], None)


def _check_unmixed(folder: Path, files: list[Path]) -> None:
    if files:
        raise InputError(
            f"{printable(folder)}: holds DICOM files, and beside them {len(files)} of another format "
            f"({printable(files[0].name)}): which is the scan cannot be known. Move one kind into a folder of its own "
            "(cohort from-folder: or choose by --match)."
        )
