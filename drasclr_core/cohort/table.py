"""The participants table: cheap reading of ids and images, full validation, writing; the box annotations beside it.

Importing this module loads the standard library, PyYAML and jsonschema only: the Snakefile does it at every start.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from drasclr_core.base.documents import raise_faults
from drasclr_core.base.documents import schema as read_schema
from drasclr_core.base.tables import write_rows
from drasclr_core.cohort.lines import read_table_lines
from drasclr_core.cohort.persons import person_faults

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
REQUIRED_COLUMNS = ("participant_id", "image")
BOX_COLUMNS = ("participant_id", "subtype", "x_mm", "y_mm", "z_mm")
BOX_SIZE_MM = 32.0

# No nan, inf or hexadecimal, all of which float() would take.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORDS_FOR_MISSING = {
    *("na", "n/a", "n.a.", "nan", "nat", ".", "-", "--", "?", "null", "none", "nil", "missing", "unknown"),
    *("#n/a", "#na", "<na>", "#null!", "#value!", "#ref!", "#div/0!"),
}
_WORDS_FOR_NO = {"0", "no", "n", "false", "f"}
_MOST_LETTERS = 100  # of an id: it becomes part of file names
_PERIODIC = re.compile(r"(.+?)\1{19,}")  # Snakemake takes it for a wildcard that grows without end
_LEAST_PERIODIC = 20
_LIKE = 0.9  # of two names of columns, by their letters


@dataclass(frozen=True)
class _Table:
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]  # line in the file, cells
    faults: list[str]


def read_participant_rows(path: str | Path) -> list[dict[str, str]]:
    """Read a participants table as text, and check what a workflow must know before its first job.

    Parameters
    ----------
    path : path
        A ``.tsv`` (tabulator) or ``.csv`` (comma) file in UTF-8, with or without byte-order mark.

    Returns
    -------
    list of dict
        One per participant, in the table's order: column -> cell without surrounding blanks, empty if missing.

    Raises
    ------
    InputError
        Naming every fault of the header, of the lines' lengths, and of the columns participant_id, image and person.
    """
    table = _read_table(Path(path))
    raise_faults(str(path), table.faults)
    return [cells for _, cells in table.rows]


def read_checked_rows(path: str | Path) -> list[dict[str, str]]:
    """Read a participants table as `read_participant_rows` does, all of it checked: 1 s for 10,000 rows.

    Raises
    ------
    InputError
        Naming every fault at once: line, column, value and what is allowed.
    """
    table, _ = _checked_table(Path(path), alone=True)
    return [cells for _, cells in table.rows]


def validate_participants(path: str | Path) -> "pd.DataFrame":
    """Read a participants table and check every cell against ``schemas/participants.schema.yaml``.

    Parameters
    ----------
    path : path
        As for `read_participant_rows`.

    Returns
    -------
    pandas.DataFrame
        One row per participant in the table's order. All columns of the schema, in its order, then the table's own
        others. Numbers, counts and grades are float64 with NaN where missing; the rest is text, None where missing.

    Raises
    ------
    InputError
        Naming every fault at once: line, column, value and what is allowed.
    """
    import pandas as pd

    schema = read_schema("participants")
    table, rows = _checked_table(Path(path))
    extra = [column for column in table.columns if column not in schema["properties"]]
    if extra:
        logger.warning("%s: columns kept as text, unknown to the schema: %s", path, ", ".join(extra))
    frame = pd.DataFrame(rows, columns=[*schema["properties"], *extra], dtype=object)
    numeric = [column for column, rule in schema["properties"].items() if _is_numeric(rule)]
    return frame.where(frame.notna(), None).astype(dict.fromkeys(numeric, "float64"))


def write_participants(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write participants as a tab-separated table, atomically; None and absent columns become empty cells.

    Parameters
    ----------
    rows : sequence of mappings
        Column -> value; the columns are written in the order of their first appearance.
    path : path
        Ends in ``.tsv``.
    """
    _write_tsv(rows, list(dict.fromkeys(column for row in rows for column in row)), path)


def write_boxes(boxes: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write box annotations (`BOX_COLUMNS`; centres in mm, LPS) as a tab-separated table, atomically."""
    _write_tsv(boxes, list(BOX_COLUMNS), path)


def column_faults(columns: list[str]) -> Iterator[str]:
    """Yield the columns that are nearly one of the schema's: their labels would be lost in silence."""
    known = {re.sub(r"[^a-z0-9]", "", name): name for name in read_schema("participants")["properties"]}
    for column in columns:
        letters = re.sub(r"[^a-z0-9]", "", column.lower())
        near = get_close_matches(letters, known, n=1, cutoff=_LIKE)
        if near and known[near[0]] not in columns:
            yield f"header: column '{column}': did you mean {known[near[0]]}? Rename it, or call it something else"


def as_number(cell: str) -> int | float | str:
    """Return the number that a cell holds, an int where it is whole, or the cell itself where it holds none."""
    if not _NUMBER.fullmatch(cell):
        return cell
    value = float(cell)
    return int(value) if value.is_integer() else value


def _write_tsv(rows: Iterable[Mapping[str, Any]], columns: list[str], path: str | Path) -> None:
    write_rows(path, columns, ([row.get(column) for column in columns] for row in rows))


def _read_table(path: Path) -> _Table:
    lines, faults = read_table_lines(path, "participants table")
    columns = lines[0][1] if lines else []
    if lines or not faults:
        faults += _header_faults(columns)
    rows = []
    for line, cells in lines[1:]:
        if len(cells) != len(columns):
            faults.append(f"line {line}: {len(cells)} cells where the header has {len(columns)}")
        rows.append((line, dict(zip(columns, cells, strict=False))))
    if not rows and not faults:
        faults.append("no participant; add one line per participant below the header")
    faults += [*column_faults(columns), *_identity_faults(columns, rows), *person_faults(rows)]
    return _Table(columns, rows, faults)


def _checked_table(path: Path, alone: bool = False) -> tuple[_Table, list[dict[str, Any]]]:
    """Return a table without faults, its rows with numbers for cells; whether each scan is `alone` on request."""
    schema = read_schema("participants")
    table = _read_table(path)
    rows = [(line, _typed(cells, schema["properties"])) for line, cells in table.rows]
    raise_faults(
        str(path),
        [*table.faults, *(_image_faults(table.rows, path.parent) if alone else ()), *_schema_faults(rows, schema)],
    )
    return table, [row for _, row in rows]


def _header_faults(columns: list[str]) -> Iterator[str]:
    for column in REQUIRED_COLUMNS:
        if column not in columns:
            yield f"header: column '{column}' is missing; found are {', '.join(columns) or 'none'}"
    for column in dict.fromkeys(columns):
        if columns.count(column) > 1:
            yield f"header: column '{column}' appears {columns.count(column)} times; keep one"


def _identity_faults(columns: list[str], rows: list[tuple[int, dict[str, str]]]) -> Iterator[str]:
    first_line: dict[str, int] = {}
    for line, cells in rows:
        if "image" in columns and not cells.get("image"):
            yield f"line {line}, image: empty; give the path of the scan"
        if "participant_id" not in columns:
            continue
        name = cells.get("participant_id", "")
        if not ID_PATTERN.fullmatch(name):
            yield f"line {line}, participant_id: '{name}' is not letters, digits, _ and -, a letter or digit first"
        elif len(name) > _MOST_LETTERS:
            yield f"line {line}, participant_id: '{name[:20]}...' has {len(name)} letters, more than {_MOST_LETTERS}"
        elif len(name) >= _LEAST_PERIODIC and _PERIODIC.search(name):
            yield f"line {line}, participant_id: '{name}' repeats itself 20 times, which Snakemake refuses; shorten it"
        elif name in first_line:
            yield f"line {line}, participant_id: '{name}' is already on line {first_line[name]}; ids are unique"
        first_line.setdefault(name, line)


def _image_faults(rows: list[tuple[int, dict[str, str]]], folder: Path) -> Iterator[str]:
    """Tell the scans that stand twice: their participants could fall into different folds."""
    first_line: dict[str, int] = {}
    for line, cells in rows:
        if (image := cells.get("image")) and not cells.get("exclude_reason"):
            path = os.path.abspath(folder / image)
            if path in first_line:
                yield f"line {line}, image: '{image}' is already the scan of line {first_line[path]}; give each its own"
            first_line.setdefault(path, line)


def _typed(cells: Mapping[str, str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the empty cells and turn the numbers of numeric columns into numbers."""
    return {
        column: as_number(cell) if _is_numeric(properties.get(column, {})) else cell
        for column, cell in cells.items()
        if cell
    }


def _is_numeric(rule: Mapping[str, Any]) -> bool:
    return rule.get("type") in ("number", "integer") or any(isinstance(value, int) for value in rule.get("enum", ()))


def _schema_faults(rows: list[tuple[int, dict[str, Any]]], schema: Mapping[str, Any]) -> Iterator[str]:
    validator = Draft202012Validator(schema)
    texts = [column for column, rule in schema["properties"].items() if rule.get("type") == "string"]
    for line, row in rows:
        for column in texts:
            word = row.get(column, "").lower()
            if word in _WORDS_FOR_MISSING:
                yield f"line {line}, {column}: '{row[column]}' would be taken as text; leave the cell empty if missing"
            elif column == "exclude_reason" and word in _WORDS_FOR_NO:
                yield f"line {line}, {column}: '{row[column]}' would exclude; leave the cell empty of those who stay"
        for error in sorted(validator.iter_errors(row), key=lambda error: str(error.json_path)):
            # The header and identity checks have already told these, with better advice.
            if error.validator != "required" and list(error.path) != ["participant_id"]:
                yield f"line {line}{_explain(error, schema['properties'])}"


def _explain(error: ValidationError, properties: Mapping[str, Any]) -> str:
    if not error.path:
        return f": {error.message}; fill both cells or neither"
    column = str(error.path[0])
    return f", {column}: {error.message} ({properties[column]['description']} Empty if missing.)"
