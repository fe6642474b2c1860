"""Read a cohort's own tables as text: delimiter, encoding, visits, one row per subject."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from drasclr_core.base.documents import raise_faults
from drasclr_core.base.errors import InputError
from drasclr_core.base.words import examples
from drasclr_core.cohort.imports.rules import Rules
from drasclr_core.cohort.table import ID_PATTERN, as_number


@dataclass(frozen=True)
class Row:
    """One line of a table: its number in the file, and the cells that are wanted by lower-case column name."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Source:
    """One table of a cohort; `names` gives the columns that are wanted as they are spelt, by lower-case name."""

    path: Path
    names: dict[str, str]
    rows: list[Row]


@dataclass(frozen=True)
class Subjects:
    """The rows of a source by subject, in the table's order; `unvisited` are those without a row of the kept visit."""

    source: Source
    rows: dict[str, Row]
    other_visits: int
    unvisited: list[str]


def code_of(cell: str) -> str:
    """Return a cell as a code: `1.0`, as programs write whole numbers beside missing ones, is `1`."""
    return str(as_number(cell))


def read_source(path: str | Path, wanted: Collection[str]) -> Source:
    """Read the wanted columns of a table in UTF-8, separated by tabulators or commas as its header is.

    Parameters
    ----------
    path : path
        With or without byte-order mark; lines end in LF or CRLF.
    wanted : collection of str
        Column names in lower case.

    Raises
    ------
    InputError
        If the file is absent, another encoding, no table, or a line is longer or shorter than the header.
    """
    path = Path(path)
    text = _read_text(path)
    header = text.partition("\n")[0]
    if "\t" not in header and "," not in header:
        raise InputError(f"{path}: neither tabulators nor commas in the first line: give a table with a header.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in header else ",", strict=True)
    try:
        columns = [name.strip() for name in next(reader)]
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}: mend the quotation marks of that line.") from None
    lines = [(line, cells) for line, cells in lines if any(cells)]
    raise_faults(str(path), _shape_faults(columns, lines, wanted))
    places = {name.lower(): place for place, name in enumerate(columns) if name.lower() in wanted}
    rows = [Row(line, {name: cells[place] for name, place in places.items()}) for line, cells in lines]
    return Source(path, {name: columns[place] for name, place in places.items()}, rows)


def common_key(sources: Iterable[Source], keys: list[str]) -> str:
    """Return the first key that all tables have.

    Raises
    ------
    InputError
        Naming the keys of each table if they have none in common.
    """
    sources = list(sources)
    for key in keys:
        if all(key.lower() in source.names for source in sources):
            return key
    found = "; ".join(
        f"{source.path} has {', '.join(k for k in keys if k.lower() in source.names) or 'none'}" for source in sources
    )
    raise InputError(f"No key joins the tables ({' or '.join(keys)}): {found}.")


def by_subject(source: Source, key: str, rules: Rules) -> Subjects:
    """Return one row per subject: of the kept visit, where a column tells the visits apart.

    Raises
    ------
    InputError
        Naming subjects with several rows, keys that cannot be ids, and visits without a known code.
    """
    visit = next((name.lower() for name in rules["visit"]["names"] if name.lower() in source.names), None)
    kept = [row for row in source.rows if visit is None or code_of(row.cells[visit]) == rules["visit"]["kept"]]
    raise_faults(str(source.path), _subject_faults(source, kept, key, visit, rules))
    rows = {row.cells[key.lower()]: row for row in kept}
    everybody = dict.fromkeys(row.cells[key.lower()] for row in source.rows)
    unvisited = [subject for subject in everybody if subject not in rows]
    return Subjects(source, rows, len(source.rows) - len(kept), unvisited)


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): give the path of a table.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: not UTF-8 (line {line}, byte {error.start}): save it as text in that encoding, "
            "for example by `iconv -f latin1 -t utf-8`."
        ) from None


def _shape_faults(columns: list[str], lines: list[tuple[int, list[str]]], wanted: Collection[str]) -> list[str]:
    counts = Counter(name.lower() for name in columns)
    twice = [name for name in counts if counts[name] > 1 and name in wanted]
    faults = [f"header: column '{name}' appears {counts[name]} times; keep one" for name in twice]
    wrong = [f"line {line} ({len(cells)})" for line, cells in lines if len(cells) != len(columns)]
    if wrong:
        faults.append(f"lines without the header's {len(columns)} cells: {examples(wrong)}")
    return faults if lines else [*faults, "no line below the header"]


def _subject_faults(source: Source, kept: list[Row], key: str, visit: str | None, rules: Rules) -> list[str]:
    lines: dict[str, list[int]] = defaultdict(list)
    for row in kept:
        lines[row.cells[key.lower()]].append(row.line)
    where = f"column {source.names[key.lower()]}"
    wrong = [f"'{name}' (line {found[0]})" for name, found in lines.items() if not ID_PATTERN.fullmatch(name)]
    several = [f"{name} (lines {', '.join(map(str, found))})" for name, found in lines.items() if len(found) > 1]
    faults = []
    if wrong:
        faults.append(f"{where}: not letters, digits, _ and -, a letter or digit first: {examples(wrong)}")
    if several:
        untold = f"no column ({' or '.join(rules['visit']['names'])}) says which visit"
        why = untold if visit is None else f"all of visit {rules['visit']['kept']}"
        faults.append(f"{where}: several rows of one subject, {why}: {examples(several)}")
    return faults if visit is None else [*faults, *_visit_faults(source, key, visit, rules)]


def _visit_faults(source: Source, key: str, visit: str, rules: Rules) -> list[str]:
    known = [rules["visit"]["kept"], *rules["visit"]["others"]]
    unknown = [
        f"'{row.cells[visit]}' of {row.cells[key.lower()]} (line {row.line})"
        for row in source.rows
        if code_of(row.cells[visit]) not in known
    ]
    if not unknown:
        return []
    place = f"column {source.names[visit]}"
    return [f"{place}: not one of the visits {', '.join(known)} (visit in --rules): {examples(unknown)}"]
