"""Map the columns of a cohort's own tables to those of the participants table, code by code."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from drasclr_core.cohort import as_number
from drasclr_core.cohort_rules import Rules, aliases, codes_of
from drasclr_core.cohort_tables import Row, Subjects, code_of, examples
from drasclr_core.documents import schema
from drasclr_core.errors import InputError

_MOST_FAULTS = 10


@dataclass(frozen=True)
class Column:
    """Where a column of the participants table was found; `unused` are other places that would have done."""

    name: str
    rule: dict[str, Any]
    subjects: Subjects
    spelling: str
    codes: dict[str, Any] | None
    unused: list[str]

    @property
    def place(self) -> str:
        """The file and the column."""
        return f"{self.subjects.source.path}, column {self.spelling}"


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
            subjects, spelling, codes = places[0]
            unused = [f"{other.source.path.name} {again}" for other, again, _ in places[1:]]
            found[name] = Column(name, rule, subjects, spelling, codes, unused)
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
        As `cohort_rules.read_rules` gives them.

    Raises
    ------
    InputError
        Naming every code or number that is not allowed, with its file, column, subject, line and value.
    """
    values = Values()
    faults: list[str] = []
    for name, column in columns.items():
        values.cells[name] = {}
        reader = _Reader(column, ["", *rules["missing"]])
        for subject in subjects:
            row = column.subjects.rows.get(subject)
            value = None if row is None else reader.read(subject, row)
            if value is not None:
                values.cells[name][subject] = value
        faults += reader.told()
        values.notes[name] += reader.notes()
    faults += _imply(columns, values, subjects)
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
) -> Iterator[tuple[Subjects, str, dict[str, Any] | None]]:
    for role in rule["tables"]:
        for base in rule["names"] if role in tables else []:
            for alias in aliases(rules, [base]):
                if alias.lower() in tables[role].source.names:
                    yield tables[role], tables[role].source.names[alias.lower()], codes_of(rule, base)


def _imply(columns: Mapping[str, Column], values: Values, subjects: list[str]) -> Iterator[str]:
    """Fill in values that follow from another column's code; yield contradictions."""
    for name, column in columns.items():
        implied = column.rule.get("implied")
        if implied is None or implied["by"] not in columns:
            continue
        by = columns[implied["by"]]
        contradicted = []
        for subject in subjects:
            row = by.subjects.rows.get(subject)
            if row is None or code_of(row.cells[by.spelling.lower()]) != implied["code"]:
                continue
            if values.cells[name].get(subject) in implied["contradicts"]:
                contradicted.append(f"{subject} ({column.spelling} says {values.cells[name][subject]})")
            values.cells[name][subject] = implied["value"]
        if contradicted:
            yield f"{by.place}: {implied['code']} means {name} {implied['value']}: {examples(contradicted)}"


def _pair_survival(values: Values) -> None:
    """Empty the follow-up of subjects with one of its two cells: neither is of use without the other."""
    for name, other in (("followup_days", "died"), ("died", "followup_days")):
        single = [subject for subject in values.cells.get(name, {}) if subject not in values.cells.get(other, {})]
        if single:
            values.notes[name].append(f"{len(single)} without {other}: empty")
        for subject in single:
            del values.cells[name][subject]
