"""Find the scans of a cohort by their names, and choose one per subject."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from drasclr_core.base.errors import InputError
from drasclr_core.base.words import examples
from drasclr_core.cohort.imports.rules import Rules

_PREAMBLE_BYTES, _MAGIC = 128, b"DICM"
_DICOM = "dicom"


@dataclass(frozen=True)
class Scan:
    """A file or a DICOM folder that is named like a scan; `stem` is its name without suffix."""

    path: Path
    stem: str
    format: str
    key: str
    breath: str
    kernel: str
    phase: str


@dataclass
class Choice:
    """One scan per subject, and what was passed over: scans of a kind, and images with other names."""

    scans: dict[str, Scan] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def choose_scans(folder: str | Path, subjects: Collection[str], rules: Rules) -> Choice:
    """Choose the scan of each subject below a folder: breath, phase, then the first kernel of the rules.

    Parameters
    ----------
    folder : path
        Searched with all its subfolders; names that begin with a dot are passed over.
    subjects : collection of str
        What the names of the scans begin with.
    rules : dict
        As `rules.read_rules` gives them.

    Returns
    -------
    Choice
        `scans` by subject, for those who have one; `keys`, the subjects of all scans that could be taken.

    Raises
    ------
    InputError
        If the folder cannot be read, or a subject has several scans between which the rules do not choose.
    """
    choice = Choice()
    several: list[str] = []
    other: list[Path] = []
    candidates: dict[str, list[Scan]] = defaultdict(list)
    for found in _find(Path(os.path.realpath(folder)), rules):
        if isinstance(found, Path):
            other.append(found)
        elif reason := _unfit(found, rules):
            choice.kinds[reason] += 1
        else:
            candidates[found.key].append(found)
    choice.keys = set(candidates)
    for subject in sorted(candidates.keys() & set(subjects)):
        best = _best(candidates[subject], rules)
        choice.scans[subject] = best[0]
        if len(best) > 1:
            several.append(f"{subject}: {', '.join(str(scan.path) for scan in best)}")
    if several:
        told = "\n  ".join(several)
        raise InputError(f"{folder}: several scans of a subject are equally good; leave one in place:\n  {told}")
    choice.notes += list(_notes(choice, candidates, other))
    return choice


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder from `folder` down with the names of its files, sorted; links are followed once.

    Raises
    ------
    InputError
        If a folder cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the one that holds the scans.")

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}): make it readable.")

    seen = set()
    for path, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield Path(path), sorted(name for name in files if not name.startswith("."))


def _find(folder: Path, rules: Rules) -> Iterator[Scan | Path]:
    """Yield scans by name, and the paths of images with another name."""
    fullmatch = re.compile(rules["images"]["name"]).fullmatch
    suffixes = sorted((name for name in rules["images"]["formats"] if name != _DICOM), key=len, reverse=True)
    for path, files in walk(folder):
        without_suffix = []
        for name in files:
            suffix = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), None)
            if suffix is None:
                without_suffix.append(path / name)
            elif (path / name).is_file():
                yield _scan(path / name, name[: -len(suffix)], suffix, fullmatch) or path / name
        if _DICOM in rules["images"]["formats"] and without_suffix:
            scan = _series(path, without_suffix, fullmatch)
            if scan is not None:
                yield scan


def _scan(path: Path, stem: str, form: str, fullmatch: Callable[[str], re.Match[str] | None]) -> Scan | None:
    match = fullmatch(stem)
    if match is None:
        return None
    return Scan(path, stem, form, match["key"], match["breath"], match["kernel"], match["phase"])


def _series(path: Path, files: list[Path], fullmatch: Callable[[str], re.Match[str] | None]) -> Scan | None:
    """Return the scan of a folder of DICOM files that is named like one, or lies directly in such a folder."""
    scan = _scan(path, path.name, _DICOM, fullmatch) or _scan(path, path.parent.name, _DICOM, fullmatch)
    return scan if scan is not None and is_series(files) else None


def is_series(files: list[Path]) -> bool:
    """Return whether some file of one folder is a DICOM image; a DICOMDIR is only a list."""
    return any(_is_dicom(file) for file in files if file.name.upper() != "DICOMDIR")


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_PREAMBLE_BYTES + len(_MAGIC))[_PREAMBLE_BYTES:] == _MAGIC


def _unfit(scan: Scan, rules: Rules) -> str | None:
    """Return what a scan is if it cannot be taken."""
    if scan.breath != rules["images"]["breath"]:
        return scan.breath
    if scan.phase not in rules["images"]["phases"]:
        return f"phase {scan.phase}"
    if scan.kernel.lower() not in _kernels(rules):
        return f"kernel {scan.kernel}"
    return None


def _kernels(rules: Rules) -> list[str]:
    return [name.lower() for name in rules["images"]["kernels"]]


def _best(scans: list[Scan], rules: Rules) -> list[Scan]:
    """Return the scans of the best kernel; of one scan in several formats only the best format."""
    kernels, formats = _kernels(rules), rules["images"]["formats"]
    best = min(kernels.index(scan.kernel.lower()) for scan in scans)
    by_stem: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        if kernels.index(scan.kernel.lower()) == best:
            by_stem[scan.stem].append(scan)
    chosen = []
    for same in by_stem.values():
        first = min(formats.index(scan.format) for scan in same)
        chosen += [scan for scan in same if formats.index(scan.format) == first]
    return chosen


def _notes(choice: Choice, candidates: dict[str, list[Scan]], other: list[Path]) -> Iterator[str]:
    taken = Counter(f"{scan.kernel} {scan.format}" for scan in choice.scans.values())
    yield "taken: " + (", ".join(f"{count} {kind}" for kind, count in taken.most_common()) or "none")
    passed = [subject for subject in choice.scans if len(candidates[subject]) > 1]
    if passed:
        yield f"{len(passed)} subjects had several; taken by kernel, then by format: {examples(passed)}"
    if choice.kinds:
        yield "not used: " + ", ".join(f"{count} {kind}" for kind, count in sorted(choice.kinds.items()))
    if other:
        yield f"{len(other)} images are not named like a scan: {examples(path.name for path in other)}"
