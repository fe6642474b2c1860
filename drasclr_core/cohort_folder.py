"""A folder of scans -> a participants table: one participant per scan, named by it."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from drasclr_core.cohort import write_participants
from drasclr_core.cohort_images import is_series, walk
from drasclr_core.cohort_table_file import check_target, relative_image
from drasclr_core.cohort_tables import examples
from drasclr_core.errors import InputError, printable
from drasclr_core.persons import PERSON
from drasclr_core.scan_files import FORMATS

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]+")
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+(?=_|$)")  # a folder, or what a file's name begins with
_NOT_FIRST = re.compile(r"^[_-]+")


def import_folder(folder: str | Path, target: str | Path, *, match: str = "*", overwrite: bool = False) -> list[str]:
    """Write a participants table of the scans below a folder; no scan is opened.

    A scan is a file with a suffix of `scan_files.FORMATS`, or a folder that holds DICOM files; those whose path is not
    UTF-8 are left out. The id is its name without suffix or, where two have the same, its path below `folder`, with `_`
    for what an id may not hold.

    Whose a scan is, only names after BIDS tell: scans below one folder ``sub-LABEL``, or of such a name in one folder,
    are of one person. Headers are not asked: an anonymised export often gives everybody the same patient id.

    Parameters
    ----------
    folder : path
        Searched with all its subfolders; names that begin with a dot are passed over.
    target : path
        The table to write, a ``.tsv``; the paths of the scans are relative to its folder.
    match : str
        What the name of a scan's file or folder must match: * any letters, ? one; capitals count.
    overwrite : bool
        Replace an existing table.

    Returns
    -------
    list of str
        Lines of a summary.

    Raises
    ------
    InputError
        If there is no scan, or two scans would have the same id.
    """
    target, root = check_target(target, overwrite), Path(os.path.realpath(folder))
    scans: list[Path] = []
    other: list[Path] = []
    misnamed: list[Path] = []
    for path, is_scan in _find(root):
        image = relative_image(path, target)
        if not (is_scan and fnmatchcase(path.name, match)):
            other.append(path)
        else:
            (scans if printable(image) == image else misnamed).append(path)
    if not scans:
        raise InputError(
            f"{folder}: no scan matches {match!r}: files end in {', '.join(FORMATS)}, a folder holds DICOM files; "
            "names are UTF-8."
        )
    ids = _ids(scans, root)
    rows = [_row(scan, ids[scan], root, target) for scan in scans]
    write_participants(sorted(rows, key=lambda row: row["participant_id"]), target)
    series = sum(scan.is_dir() for scan in scans)
    lines = [f"{target}: {len(rows)} participants, {len(scans) - series} files and {series} folders of DICOM files"]
    persons = [row[PERSON] for row in rows if PERSON in row]
    if persons:
        lines.append(f"  {len(persons)} scans of {len(set(persons))} persons, by names after BIDS (sub-LABEL)")
    for told, paths in {"are not used": other, "have names that no table can hold; rename them": misnamed}.items():
        if paths:
            shown = examples(printable(path.relative_to(root)) for path in paths)
            lines.append(f"  {len(paths)} files or folders {told}: {shown}")
    return lines


def _find(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what lies below a folder and whether it may be a scan: files by their suffix, a DICOM series as a whole."""
    for path, names in walk(root):
        others = []
        for name in names:
            if name.lower().endswith(tuple(FORMATS)):
                yield path / name, True
            else:
                others.append(path / name)
        if is_series(others):
            yield path, True
        else:
            yield from ((file, False) for file in others)


def _row(scan: Path, name: str, root: Path, target: Path) -> dict[str, str]:
    row = {"participant_id": name, "image": relative_image(scan, target)}
    parts = _names(scan, root)
    for place, part in enumerate(parts):
        if label := _SUBJECT.match(part):
            return {**row, PERSON: "/".join([*_dataset(parts[:place]), label[0]])}
    return row


def _dataset(folders: list[str]) -> list[str]:
    """Return the folders above a subject's that tell one data set from another: BIDS' own, raw or derived, do not."""
    if "derivatives" in folders:
        return folders[: folders.index("derivatives")]
    return folders[:-1] if folders[-1:] in (["rawdata"], ["sourcedata"]) else folders


def _ids(scans: list[Path], root: Path) -> dict[Path, str]:
    named = Counter(_as_id(_stem(scan)) for scan in scans)
    ids = {}
    for scan in scans:
        alone = _as_id(_stem(scan))
        ids[scan] = alone if named[alone] == 1 else _as_id("_".join(_names(scan, root)))
    _check_ids(ids)
    return ids


def _names(scan: Path, root: Path) -> list[str]:
    """Return the names of the folders below the root, and that of the scan without suffix."""
    return [*scan.relative_to(root).parts[:-1], _stem(scan)]


def _stem(scan: Path) -> str:
    """Return the name without suffix; that of a folder is its name."""
    if scan.is_dir():
        return scan.name
    suffix = max((suffix for suffix in FORMATS if scan.name.lower().endswith(suffix)), key=len)
    return scan.name[: -len(suffix)]


def _as_id(name: str) -> str:
    return _NOT_FIRST.sub("", _NOT_IN_IDS.sub("_", name))


def _check_ids(ids: dict[Path, str]) -> None:
    """Refuse names that leave no id, and scans of one id."""
    owners = defaultdict(list)
    for scan, name in ids.items():
        owners[name].append(str(scan))
    faults = [
        f"{name or 'no id at all'}: {', '.join(scans)}" for name, scans in owners.items() if len(scans) > 1 or not name
    ]
    if faults:
        told = "\n  ".join(faults)
        raise InputError(
            f"these scans would not have an id of their own (letters, digits, _ and -); rename some:\n  {told}"
        )
