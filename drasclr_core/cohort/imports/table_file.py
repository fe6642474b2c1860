"""The files that a cohort's import writes: the participants table, and beside it who was left out."""

import os
from collections.abc import Mapping
from pathlib import Path

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_path
from drasclr_core.base.paths import check_writable, path_cell


def check_target(target: str | Path, overwrite: bool) -> Path:
    """Return the table's path, once it can be written without loss.

    Raises
    ------
    InputError
        If it is no ``.tsv``, exists and may not be replaced, or cannot be written.
    """
    target = Path(target)
    if target.suffix != ".tsv":
        raise InputError(f"{target}: the table is tab-separated: give a name that ends in .tsv.")
    if target.exists() and not overwrite:
        raise InputError(
            f"{target} exists, perhaps with exclusions filled in by hand: choose another name, or --overwrite."
        )
    check_writable(target)
    return target


def left_out_path(target: Path) -> Path:
    """Return where those left out of a table are listed."""
    return target.with_name(f"{target.stem}.left_out.tsv")


def write_left_out(reasons: Mapping[str, str], target: Path) -> None:
    """Write who is not in the table and why: columns participant_id, reason."""
    lines = ["participant_id\treason", *(f"{name}\t{reason}" for name, reason in reasons.items())]
    with atomic_path(left_out_path(target)) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def relative_image(image: Path, target: Path) -> str:
    """Return the path of an image as the table's own folder sees it; `image` is free of links to folders."""
    return path_cell(os.path.relpath(image, os.path.realpath(target.parent)))
