"""The lines of a participants table or of a table of boxes, as text; no line is lost to a quotation mark left open."""

import csv
import io
import re
from pathlib import Path

from drasclr_core.base.errors import InputError

Line = tuple[int, list[str]]
"""Where a line begins in the file, and its cells."""

_DELIMITERS = {".tsv": "\t", ".csv": ","}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUOTES = "is a quotation mark left open? Close or remove it"


def read_table_lines(path: str | Path, name: str) -> tuple[list[Line], list[str]]:
    """Return the lines of a table in UTF-8 that are not blank, and the faults of their cells.

    Parameters
    ----------
    path : path
        A ``.tsv`` (tabulator) or ``.csv`` (comma) file, with or without byte-order mark.
    name : str
        What is missing, if it is.

    Returns
    -------
    list of (int, list of str)
        Cells without surrounding blanks; up to the first fault that hides where cells end.
    list of str

    Raises
    ------
    InputError
        If the file cannot be read, is not UTF-8, or neither .tsv nor .csv.
    """
    text, delimiter = _read_text(Path(path), name)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    lines: list[Line] = []
    faults, start = [], 1
    try:
        for cells in reader:
            if _CONTROL.search("".join(cells)):
                faults.append(f"line {start}: a line break, or another such character, in a cell; {_QUOTES}")
            if any(cell.strip() for cell in cells):
                lines.append((start, [cell.strip() for cell in cells]))
            start = reader.line_num + 1
    except csv.Error as error:
        faults.append(f"line {start}: {error}; {_QUOTES}")
    return lines, faults


def _read_text(path: Path, name: str) -> tuple[io.StringIO, str]:
    if path.suffix.lower() not in _DELIMITERS:
        raise InputError(f"{path}: the suffix '{path.suffix}' says no delimiter; allowed are .tsv and .csv")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the path of the {name}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the path of the {name}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save the table with that encoding") from None
    return io.StringIO(text, newline=""), _DELIMITERS[path.suffix.lower()]
