"""Tab-separated tables of ours. They end in an empty line: one that was cut, be it between two lines, does not."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from drasclr_core.base.errors import DamagedError
from drasclr_core.base.files import atomic_path

END = "\n\n"


def write_rows(path: str | Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table with a header line, atomically; None becomes an empty cell."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        file.write("\n")


def read_rows(path: str | Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Return the rows of a table with these columns.

    Raises
    ------
    DamagedError
        If it is not whole, or a row has not these cells.
    """
    with whole(path).open(encoding="utf-8", newline="") as file:
        lines = [cells for cells in csv.reader(file, delimiter="\t") if cells]
    names = list(columns)
    if lines[:1] != [names] or any(len(cells) != len(names) for cells in lines):
        raise DamagedError(path, f"not a table of {', '.join(names)}")
    return [dict(zip(names, cells, strict=True)) for cells in lines[1:]]


def whole(path: str | Path) -> Path:
    """Return the path of a table of ours, which may have been written by other means than `write_rows`.

    Raises
    ------
    DamagedError
        If it is no text, or does not end as such a table does.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(path, f"not UTF-8: {error.reason}") from error
    if not text.endswith(END):
        raise DamagedError(path, "it ends too early")
    return path
