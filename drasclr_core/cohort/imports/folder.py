"""A folder of scans -> a participants table: one participant per scan, named by it."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from drasclr_core.base.errors import InputError, printable
from drasclr_core.base.words import counted, examples
from drasclr_core.cohort.imports.labels import read_labels
from drasclr_core.cohort.imports.scan_finder import Found, find_scans
from drasclr_core.cohort.imports.table_file import check_target, left_out_path, relative_image, write_left_out
from drasclr_core.cohort.persons import PERSON
from drasclr_core.cohort.table import write_participants
from drasclr_core.scan.files import FORMATS

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]+")
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+(?=_|$)")  # a folder, or what a file's name begins with
_NOT_FIRST = re.compile(r"^[_-]+")


def import_folder(
    folder: str | Path,
    target: str | Path,
    *,
    match: str = "*",
    id_regex: str | None = None,
    labels: str | Path | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write a participants table of the scans below a folder, as `scan_finder.find_scans` finds them.

    The id is the scan's name without suffix or, where two have the same, its path below `folder`, with `_` for what an
    id may not hold. Scans whose path is not UTF-8 are left out, and label maps.

    Whose a scan is, only names after BIDS tell: scans below one folder ``sub-LABEL``, or of such a name in one folder,
    are of one person. Headers are not asked: an anonymised export often gives everybody the same patient id.

    Parameters
    ----------
    folder : path
        Searched with all its subfolders; names that begin with a dot are passed over.
    target : path
        The table to write, a ``.tsv``; the paths of the scans are relative to its folder. Beside it, to
        ``NAME.left_out.tsv``, go the scans without an id and the labels without a scan, if there are any.
    match : str
        What the name of a scan's file or folder must match: * any letters, ? one; capitals count.
    id_regex : str, optional
        Searched in a scan's path below the folder; its first group is the id. Scans in which it is not found are left
        out.
    labels : path, optional
        Table whose columns join the participants', as of `labels.read_labels`.
    overwrite : bool
        Replace an existing table.

    Returns
    -------
    list of str
        Lines of a summary.

    Raises
    ------
    InputError
        If there is no scan, two scans would have the same id, or the regular expression or the labels cannot be used.
    """
    target, root = check_target(target, overwrite), Path(os.path.realpath(folder))
    table = read_labels(labels) if labels is not None else None
    found = find_scans(root, match)
    images = {scan: relative_image(scan, target) for scan in found.scans}
    scans = [scan for scan, image in images.items() if printable(image) == image]
    if not scans:
        raise InputError(
            f"{folder}: no scan matches {match!r}: files end in {', '.join(FORMATS)}, a folder holds DICOM files; "
            f"names are UTF-8. {_left(found)}".rstrip()
        )
    ids = _ids(scans, root) if id_regex is None else _matched_ids(scans, root, id_regex)
    rows = sorted((_row(scan, ids[scan], root, target) for scan in ids), key=lambda row: row["participant_id"])
    joined = table.join(rows) if table is not None else None
    write_participants(joined.rows if joined else rows, target)
    unmatched = [scan.relative_to(root).as_posix() for scan in scans if scan not in ids]
    left_out = dict.fromkeys(unmatched, f"--id-regex {id_regex} is not found in the path")
    if joined:
        left_out |= dict.fromkeys(joined.without_scan, f"a row of {labels}, but no scan")
    if left_out:
        write_left_out(left_out, target)
    else:
        left_out_path(target).unlink(missing_ok=True)  # of an older table
    misnamed = [scan for scan in found.scans if scan not in scans]
    return [*_summary(target, rows, ids, unmatched), *_passed(found, misnamed, root), *(joined.lines if joined else ())]


def _summary(target: Path, rows: list[dict[str, str]], ids: dict[Path, str], unmatched: list[str]) -> Iterator[str]:
    series = sum(scan.is_dir() for scan in ids)
    kinds = f"{counted(len(rows) - series, 'file')} and {counted(series, 'folder')} of DICOM files"
    yield f"{target}: {counted(len(rows), 'participant')}, {kinds}"
    if persons := [row[PERSON] for row in rows if PERSON in row]:
        people = counted(len(set(persons)), "person")
        yield f"  {counted(len(persons), 'scan')} of {people}, by names after BIDS (sub-LABEL)"
    if unmatched:
        yield (
            f"  {counted(len(unmatched), 'scan')} left out, in whose path --id-regex is not found (all in "
            f"{left_out_path(target)}): {examples(unmatched)}"
        )


def _passed(found: Found, misnamed: list[Path], root: Path) -> Iterator[str]:
    for paths, one, several, told in (
        (found.other, "file or folder", "files or folders", "not used"),
        (found.label_maps, "label map or mask", "label maps or masks", "not used"),
        (misnamed, "scan", "scans", "left out, for no table can hold the name; rename it"),
    ):
        if paths:
            yield (
                f"  {counted(len(paths), one, several)} {told}: "
                f"{examples(printable(path.relative_to(root)) for path in paths)}"
            )


def _left(found: Found) -> str:
    """Say that there are label maps where there is no scan."""
    names = examples(printable(path.name) for path in found.label_maps)
    return f"Label maps or masks are no scans: {names}." if found.label_maps else ""


def _matched_ids(scans: list[Path], root: Path, id_regex: str) -> dict[Path, str]:
    """Return the ids of the scans in whose path a regular expression is found."""
    try:
        pattern = re.compile(id_regex)
    except re.error as error:
        raise InputError(f"--id-regex {id_regex!r} is no regular expression: {error}.") from error
    if not pattern.groups:
        raise InputError(f"--id-regex {id_regex!r} has no group: put the id into brackets, such as '(P[0-9]+)'.")
    found = {scan: pattern.search(scan.relative_to(root).as_posix()) for scan in scans}
    ids = {scan: _as_id(match[1]) for scan, match in found.items() if match and match[1]}
    if not ids:
        shown = examples(scan.relative_to(root).as_posix() for scan in scans)
        raise InputError(f"--id-regex {id_regex!r} is found in no path: {shown}.")
    _check_ids(ids)
    return ids


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
            f"these scans would not have an id of their own (letters, digits, _ and -); rename some, or give an "
            f"--id-regex that tells them apart:\n  {told}"
        )
