"""MosMed's own layout -> a participants table: ``studies/CT-0`` to ``CT-4``, one ``study_NNNN.nii.gz`` per subject."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from drasclr_core.base.errors import InputError
from drasclr_core.base.words import examples
from drasclr_core.cohort.imports.images import walk
from drasclr_core.cohort.imports.table_file import check_target, relative_image
from drasclr_core.cohort.table import write_participants

PUBLISHED = {0: 254, 1: 684, 2: 125, 3: 45, 4: 2}
"""Studies per grade in the published data set (Morozov et al., 2020); 1,110 in all."""

_GRADE = re.compile(r"CT-([0-4])")
_STUDY = re.compile(r"(study_\d{4})\.nii(\.gz)?")


def import_mosmed(folder: str | Path, target: str | Path, *, overwrite: bool = False) -> list[str]:
    """Write the participants table of MosMed: ids, scans, grades 0 to 4.

    Parameters
    ----------
    folder : path
        The data set's folder, which holds ``studies``, or ``studies`` itself.
    target : path
        The table to write, a ``.tsv``; the paths of the scans are relative to its folder.
    overwrite : bool
        Replace an existing table.

    Returns
    -------
    list of str
        Lines of a summary: studies per grade beside the published numbers, what else lies in the folder.

    Raises
    ------
    InputError
        If there is no study, or a study is there twice.
    """
    target = check_target(target, overwrite)
    studies, unexpected = _find(_studies_folder(Path(folder)))
    if not studies:
        raise InputError(f"{folder}: no studies/CT-0 ... CT-4/study_NNNN.nii.gz here: give MosMed's own folder.")
    twice = {name: [str(path) for _, path in found] for name, found in sorted(studies.items()) if len(found) > 1}
    if twice:
        told = "\n  ".join(f"{name}: {', '.join(paths)}" for name, paths in twice.items())
        raise InputError(f"{folder}: a study is there more than once; leave one in place:\n  {told}")
    grades = {name: found[0][0] for name, found in studies.items()}
    rows = [
        {"participant_id": name, "image": relative_image(found[0][1], target), "covid_grade": grades[name]}
        for name, found in sorted(studies.items())
    ]
    write_participants(rows, target)
    return [f"{target}: {len(rows)} participants", *_summary(Counter(grades.values()), unexpected)]


def _studies_folder(folder: Path) -> Path:
    inner = folder / "studies"
    return Path(os.path.realpath(inner if inner.is_dir() else folder))


def _find(studies: Path) -> tuple[dict[str, list[tuple[int, Path]]], list[str]]:
    """Return grade and path of each study, more than one where it lies twice, and what else is there."""
    found: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    unexpected = []
    for folder, files in walk(studies):
        grade = _GRADE.fullmatch(folder.name) if folder.parent == studies else None
        if folder != studies and grade is None:
            unexpected.append(f"{folder.relative_to(studies)}/")
        for name in files:
            study = _STUDY.fullmatch(name)
            if grade and study:
                found[study[1]].append((int(grade[1]), folder / name))
            else:
                unexpected.append(str((folder / name).relative_to(studies)))
    return found, unexpected


def _summary(counts: Counter[int], unexpected: list[str]) -> Iterator[str]:
    for grade, published in PUBLISHED.items():
        other = "" if counts[grade] == published else f" (published: {published})"
        yield f"  CT-{grade}: {counts[grade]}{other}"
    if unexpected:
        yield f"  {len(unexpected)} files or folders are not of this layout and are not used: {examples(unexpected)}"
