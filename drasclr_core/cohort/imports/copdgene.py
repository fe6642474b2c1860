"""COPDGene's tables and scans -> a participants table, and a summary of what was found and what is lacking."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drasclr_core.base.errors import InputError
from drasclr_core.base.words import examples
from drasclr_core.cohort.imports.images import Choice, choose_scans
from drasclr_core.cohort.imports.rules import COPDGENE, Rules, read_rules, wanted_names
from drasclr_core.cohort.imports.table_file import check_target, left_out_path, relative_image, write_left_out
from drasclr_core.cohort.imports.tables import Subjects, by_subject, common_key, read_source
from drasclr_core.cohort.imports.values import Column, Values, find_columns, read_values
from drasclr_core.cohort.persons import PERSON
from drasclr_core.cohort.table import write_participants

PHENO = "pheno"
_NO_SCAN = "no scan that can be used"
_NO_ROW = "a scan, but not in"


@dataclass(frozen=True)
class _Cohort:
    """Everything that was read: the tables by role, the images by participant, and who is in no table or image."""

    rules: Rules
    key: str
    tables: Mapping[str, Subjects]
    image_keys: dict[str, str]  # participant -> what the names of the scans begin with
    choice: Choice
    columns: Mapping[str, Column]
    values: Values

    @property
    def participants(self) -> list[str]:
        """Those with a scan, in the order of the phenotype table."""
        return [name for name, key in self.image_keys.items() if key in self.choice.scans]


def import_copdgene(
    tables: Mapping[str, str | Path],
    images: str | Path,
    target: str | Path,
    *,
    rules: str | Path = COPDGENE,
    overwrite: bool = False,
) -> list[str]:
    """Write the participants table of COPDGene, and beside it who was left out and why.

    Parameters
    ----------
    tables : mapping
        Paths by role: ``pheno``, and, where there are such tables, ``visual`` and ``mortality``.
    images : path
        Folder with the scans, at any depth.
    target : path
        The table to write, a ``.tsv``; the paths of the scans are relative to its folder.
    rules : path
        Names and codes, as `rules.read_rules` takes them.
    overwrite : bool
        Replace an existing table.

    Returns
    -------
    list of str
        Lines of a summary: subjects, scans, where each column was found, what is lacking.

    Raises
    ------
    InputError
        If a table cannot be read, the tables have no key in common, a subject has several rows, a code is unknown, a
        number out of range, several scans equally good, or no subject has a scan.
    """
    target = check_target(target, overwrite)
    cohort = _read(tables, images, read_rules(rules))
    if not cohort.participants:
        told = "\n  ".join(cohort.choice.notes)
        raise InputError(f"{images}: no subject of {tables[PHENO]} has a scan here:\n  {told}")
    write_participants([_row(cohort, name, target) for name in cohort.participants], target)
    left_out = dict(_left_out(cohort))
    write_left_out(left_out, target)
    return list(_summary(cohort, left_out, target))


def _read(tables: Mapping[str, str | Path], images: str | Path, rules: Rules) -> _Cohort:
    sources = {role: read_source(path, wanted_names(rules)) for role, path in tables.items()}
    key = common_key(sources.values(), rules["keys"])
    subjects = {role: by_subject(source, key, rules) for role, source in sources.items()}
    image_keys = _image_keys(subjects[PHENO], rules["image_key"])
    choice = choose_scans(images, image_keys.values(), rules)
    columns = find_columns(subjects, rules)
    participants = [name for name, scan_key in image_keys.items() if scan_key in choice.scans]
    values = read_values(columns, participants, rules)
    return _Cohort(rules, key, subjects, image_keys, choice, columns, values)


def _image_keys(pheno: Subjects, image_key: str) -> dict[str, str]:
    """Return participant -> key of the scans: the participant's own id where the table has no such column."""
    named = image_key.lower() in pheno.source.names
    keys = {name: row.cells[image_key.lower()] if named else name for name, row in pheno.rows.items()}
    counts = Counter(keys.values())
    shared = [f"{name} ({key})" for name, key in keys.items() if key and counts[key] > 1]
    if shared:
        raise InputError(f"{pheno.source.path}: several subjects share one {image_key}: {examples(shared)}.")
    return keys


def _row(cohort: _Cohort, name: str, target: Path) -> dict[str, Any]:
    scan = cohort.choice.scans[cohort.image_keys[name]]
    filled = {column: cells.get(name) for column, cells in cohort.values.cells.items() if cells}
    # One scan of each is taken; whoever adds those of other visits finds in the column what they have in common.
    return {"participant_id": name, "image": relative_image(scan.path, target), PERSON: name, **filled}


def _left_out(cohort: _Cohort) -> Iterator[tuple[str, str]]:
    """Yield participant, reason; a scan's key stands for a participant who is in no table."""
    pheno = cohort.tables[PHENO]
    for name, key in cohort.image_keys.items():
        if key not in cohort.choice.scans:
            yield name, _NO_SCAN
    for name in pheno.unvisited:
        yield name, f"no row of the visit {cohort.rules['visit']['kept']} in {pheno.source.path.name}"
    known = cohort.image_keys.keys() | set(pheno.unvisited)
    for role, table in cohort.tables.items():
        for name in table.rows if role != PHENO else ():
            if name not in known:
                yield name, f"in {table.source.path.name}, not in {pheno.source.path.name}"
    for key in sorted(cohort.choice.keys - set(cohort.image_keys.values()) - known):
        yield key, f"{_NO_ROW} {pheno.source.path.name}"


def _summary(cohort: _Cohort, left_out: Mapping[str, str], target: Path) -> Iterator[str]:
    yield f"{target}: {len(cohort.participants)} participants"
    yield f"{left_out_path(target)}: {len(left_out)} left out, with reasons"
    yield f"tables, joined by {cohort.key}"
    yield from (f"  {line}" for line in _table_lines(cohort))
    yield "scans"
    yield from (f"  {line}" for line in cohort.choice.notes)
    without = [name for name, reason in left_out.items() if reason == _NO_SCAN]
    if without:
        yield f"  {len(without)} subjects have none and are left out: {examples(without)}"
    strangers = [name for name, reason in left_out.items() if reason.startswith(_NO_ROW)]
    if strangers:
        yield f"  {len(strangers)} subjects with a scan are in no table: {examples(strangers)}"
    yield "columns found"
    yield from (f"  {line}" for line in _found_lines(cohort))
    lacking = list(_missing_lines(cohort))
    yield "columns missing" if lacking else "no column is missing"
    yield from (f"  {line}" for line in lacking)
    doubts = [f"{name:<17} {c.rule['uncertain']}" for name, c in cohort.columns.items() if "uncertain" in c.rule]
    if doubts:
        yield "compare with the dictionary of your release"
        yield from (f"  {line}" for line in doubts)


def _table_lines(cohort: _Cohort) -> Iterator[str]:
    pheno = cohort.tables[PHENO]
    for role, table in cohort.tables.items():
        line = f"{role}: {table.source.path.name}, {len(table.rows)} subjects"
        if table.other_visits:
            line += f"; {table.other_visits} rows of other visits are not used"
        if role == PHENO:
            if table.unvisited:
                line += f"; {len(table.unvisited)} subjects without a row of the visit are left out"
        else:
            only = [name for name in table.rows if name not in pheno.rows]
            absent = [name for name in pheno.rows if name not in table.rows]
            line += f"; {len(only)} not in {pheno.source.path.name}" if only else ""
            line += f"; {len(absent)} of {pheno.source.path.name} not in it, their cells are empty" if absent else ""
        yield line


def _found_lines(cohort: _Cohort) -> Iterator[str]:
    places = {name: f"{c.subjects.source.path.name} {c.spelling}" for name, c in cohort.columns.items()}
    width = max(map(len, places.values()), default=0)
    for name, column in cohort.columns.items():
        filled = len(cohort.values.cells[name])
        notes = [f"{filled} values, {len(cohort.participants) - filled} empty", *cohort.values.notes[name]]
        if not filled:
            notes.append(column.rule["lacking"])
        if column.unused:
            notes.append(f"not used: {', '.join(column.unused)}")
        yield f"{name:<17} {places[name]:<{width}}  {'; '.join(notes)}"


def _missing_lines(cohort: _Cohort) -> Iterator[str]:
    for name, rule in cohort.rules["columns"].items():
        if name in cohort.columns:
            continue
        files = [cohort.tables[role].source.path.name for role in rule["tables"] if role in cohort.tables]
        absent = [f"--{role}" for role in rule["tables"] if role not in cohort.tables]
        where = f"looked for {', '.join(rule['names'])} in {', '.join(files)}" if files else "no table"
        where += f" (no {', '.join(absent)} given)" if absent else ""
        yield f"{name:<17} {where}; {rule['lacking']}"
