"""Map the columns of a cohort's own tables to those of the participants table, code by code."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from drasclr_core.base.documents import schema
from drasclr_core.base.errors import InputError
from drasclr_core.base.words import examples
from drasclr_core.cohort.imports.rules import Rules, aliases, codes_of
from drasclr_core.cohort.imports.tables import Row, Subjects, code_of
from drasclr_core.cohort.table import as_number

logger = logging.getLogger(__name__)

_MOST_FAULTS = 10


@dataclass(frozen=True)
class Column:
    """Where a column of the participants table was found; `unused` are other places that would have done.

    `vague` are the codes that do not tell the implied value from another (``implied.vague`` of the rules).
    """

    name: str
    rule: dict[str, Any]
    subjects: Subjects
    spelling: str
    codes: dict[str, Any] | None
    vague: list[str]
    unused: list[str]

    @property
    def place(self) -> str:
        """The file and the column."""
        return f"{self.subjects.source.path}, column {self.spelling}"

    def cell(self, subject: str) -> str:
        """Return the cell of a subject as it stands in the table, empty where the table does not have the subject."""
        row = self.subjects.rows.get(subject)
        return "" if row is None else row.cells[self.spelling.lower()]


@dataclass
class Values:
    """Value by column and subject, without the missing ones; `notes` count per column what became an empty cell."""

    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def find_columns(tables: Mapping[str, Subjects], rules: Rules) -> dict[str, Column]:
    """Return the columns of the participants table that can be filled: the first table and name of the rules."""
    found = {}
    for name, rule in rules["columns"].items():
        places = list(_places(name, rule, tables, rules))
        if places:
            subjects, spelling, base = places[0]
            unused = [f"{other.source.path.name} {again}" for other, again, _ in places[1:]]
            vague = rule.get("implied", {}).get("vague", {}).get(base, [])
            found[name] = Column(name, rule, subjects, spelling, codes_of(rule, base), vague, unused)
    return found


def read_values(columns: Mapping[str, Column], subjects: list[str], rules: Rules) -> Values:
    """Return the values of the given subjects.

    Parameters
    ----------
    columns : mapping
        As `find_columns` gives them.
    subjects : list of str
        Those to read; the cells of others are not looked at.
    rules : dict
        As `rules.read_rules` gives them.

    Raises
    ------
    InputError
        Naming every code or number that is not allowed, with its file, column, subject, line and value.
    """
    values, missing = Values(), ["", *rules["missing"]]
    faults: list[str] = []
    for name, column in columns.items():
        values.cells[name] = {}
        reader = _Reader(column, missing)
        for subject in subjects:
            row = column.subjects.rows.get(subject)
            value = None if row is None else reader.read(subject, row)
            if value is not None:
                values.cells[name][subject] = value
        faults += reader.told()
        values.notes[name] += reader.notes()
    faults += _imply(columns, values, subjects, missing)
    if faults:
        told = "\n  ".join(faults)
        raise InputError(
            f"Cells that mean nothing to the rules; mend them, or say in --rules what they mean:\n  {told}"
        )
    _pair_survival(values)
    return values


class _Reader:
    """Turns the cells of one column into values, each different cell once, and remembers what it could not turn."""

    def __init__(self, column: Column, missing: list[str]) -> None:
        self.column, self.missing = column, missing
        self._check = Draft202012Validator(schema("participants")["properties"][column.name])
        self._known: dict[str, tuple[Any, str]] = {}  # cell -> value, fault
        self._faults: dict[str, list[str]] = defaultdict(list)
        self._emptied: Counter[str] = Counter()

    def read(self, subject: str, row: Row) -> Any:
        """Return the value of a subject, None where it is missing or wrong."""
        cell = row.cells[self.column.spelling.lower()]
        if cell not in self._known:
            self._known[cell] = self._turn(cell)
        value, fault = self._known[cell]
        if fault:
            self._faults[fault].append(f"{subject} (line {row.line})")
        elif value is None and cell not in self.missing:
            self._emptied[code_of(cell)] += 1
        return value

    def told(self) -> list[str]:
        """Return one line per fault, with the subjects that have it; a column in another unit would have thousands."""
        told = [f"{self.column.place}: {fault}: {examples(who)}" for fault, who in self._faults.items()]
        more = len(told) - _MOST_FAULTS
        return told[:_MOST_FAULTS] + ([f"{self.column.place}: {more} more values are not allowed"] if more > 0 else [])

    def notes(self) -> list[str]:
        """Return how many cells with a code became empty."""
        return [f"{count} with {code}: empty" for code, count in sorted(self._emptied.items())]

    def _turn(self, cell: str) -> tuple[Any, str]:
        if cell in self.missing:
            return None, ""
        codes = self.column.codes
        if codes is not None:
            code = code_of(cell)
            return (codes[code], "") if code in codes else (None, f"'{cell}' is no code of it ({', '.join(codes)})")
        value = as_number(cell)
        fault = next(self._check.iter_errors(value), None)
        return (value, "") if fault is None else (None, f"{fault.message} (for {self.column.name})")


def _places(
    name: str, rule: dict[str, Any], tables: Mapping[str, Subjects], rules: Rules
) -> Iterator[tuple[Subjects, str, str]]:
    """Yield every table that has the column, the name as it is spelt there, and the rules' name for it."""
    for role in rule["tables"]:
        for base in rule["names"] if role in tables else []:
            for alias in aliases(rules, [base]):
                if alias.lower() in tables[role].source.names:
                    yield tables[role], tables[role].source.names[alias.lower()], base


def _imply(columns: Mapping[str, Column], values: Values, subjects: list[str], missing: list[str]) -> Iterator[str]:
    """Fill in values that follow from another column's code; yield contradictions."""
    for column in columns.values():
        if "implied" in column.rule:
            yield from _imply_column(column, columns, values, subjects, missing)


def _imply_column(
    column: Column, columns: Mapping[str, Column], values: Values, subjects: list[str], missing: list[str]
) -> Iterator[str]:
    implied, cells = column.rule["implied"], values.cells[column.name]
    sources = [(columns[by["column"]], by) for by in implied["by"] if by["column"] in columns]
    kept: dict[str, list[str]] = defaultdict(list)
    contradicted: dict[str, list[str]] = defaultdict(list)
    unknown = 0
    for subject in subjects:
        vague = code_of(column.cell(subject)) in column.vague
        decisive = next(((source, by) for source, by in sources if source.cell(subject) not in missing), None)
        if decisive is None:
            unknown += vague and cells.pop(subject, None) is not None
            continue
        source, by = decisive
        if code_of(source.cell(subject)) != by["code"]:
            continue
        said = cells.get(subject)
        if said in (None, implied["value"]) or vague:
            cells[subject] = implied["value"]
        else:
            told = f"{source.place}: {by['code']} means {column.name} {implied['value']}"
            group = contradicted if said in by["contradicts"] else kept
            group[told].append(f"{subject} ({column.spelling} says {said})")
    for told, who in kept.items():
        logger.warning("%s; kept as the column itself says: %s", told, examples(who))
        values.notes[column.name].append(f"{len(who)} kept against {told.rpartition(', column ')[2]}")
    if unknown:
        codes = ", ".join(column.vague)
        values.notes[column.name].append(f"{unknown} with {codes}, who may be {implied['value']} too: empty")
    yield from (f"{told}: {examples(who)}" for told, who in contradicted.items())


def _pair_survival(values: Values) -> None:
    """Empty the follow-up of subjects with one of its two cells: neither is of use without the other."""
    for name, other in (("followup_days", "died"), ("died", "followup_days")):
        single = [subject for subject in values.cells.get(name, {}) if subject not in values.cells.get(other, {})]
        if single:
            values.notes[name].append(f"{len(single)} without {other}: empty")
        for subject in single:
            del values.cells[name][subject]
