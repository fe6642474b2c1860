"""A clinical table beside a folder of scans: its columns join the participants."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drasclr_core.base.documents import raise_faults
from drasclr_core.base.errors import InputError
from drasclr_core.base.words import counted, examples
from drasclr_core.cohort.lines import read_table_lines
from drasclr_core.cohort.table import column_faults

ID, IMAGE = "participant_id", "image"


@dataclass(frozen=True)
class Joined:
    """Participants with labels; the ids of label rows `without_scan`, and lines of a summary."""

    rows: list[dict[str, str]]
    without_scan: list[str]
    lines: list[str]


@dataclass(frozen=True)
class Labels:
    """A table of labels: participant id -> column -> cell."""

    path: Path
    columns: list[str]
    cells: dict[str, dict[str, str]]

    def join(self, rows: Sequence[Mapping[str, str]]) -> Joined:
        """Return participants with the columns of this table, whose empty cells change nothing.

        Raises
        ------
        InputError
            If not a single participant is in the table.
        """
        ids = [row[ID] for row in rows]
        without_labels = [name for name in ids if name not in self.cells]
        without_scan = [name for name in self.cells if name not in set(ids)]
        if len(without_labels) == len(ids):
            raise InputError(
                f"{self.path}: no row is of a scan here. Its {ID}s: {examples(self.cells)}; those of the scans: "
                f"{examples(ids)}. Make them the same: --id-regex takes an id out of a path."
            )
        joined = []
        for row in rows:
            cells = self.cells.get(row[ID], {})
            joined.append({**row, **{name: cells.get(name) or row.get(name, "") for name in self.columns}})
        taken = counted(len(ids) - len(without_labels), "participant")
        lines = [f"  {self.path}: {counted(len(self.columns), 'column')} of {taken}: {', '.join(self.columns)}"]
        if without_labels:
            lines.append(
                f"  {counted(len(without_labels), 'participant')} without a row there: {examples(without_labels)}"
            )
        if without_scan:
            lines.append(f"  {counted(len(without_scan), 'row')} there without a scan: {examples(without_scan)}")
        return Joined(joined, without_scan, lines)


def read_labels(path: str | Path) -> Labels:
    """Read a table of labels: a column `participant_id`, others as of the participants table, or unknown ones.

    Parameters
    ----------
    path : path
        A ``.tsv`` (tabulator) or ``.csv`` (comma) file in UTF-8.

    Raises
    ------
    InputError
        Naming every fault: of the header, such as a column that is nearly a known one; of the lines' lengths; ids that
        are empty or stand twice.
    """
    path = Path(path)
    lines, faults = read_table_lines(path, "table of labels")
    header = lines[0][1] if lines else []
    faults += [*_header_faults(header), *column_faults(header), *_line_faults(header, lines[1:])]
    raise_faults(str(path), faults)
    rows = [dict(zip(header, cells, strict=True)) for _, cells in lines[1:]]
    columns = [name for name in header if name != ID]
    return Labels(path, columns, {row[ID]: {name: row[name] for name in columns} for row in rows})


def _header_faults(header: list[str]) -> Iterator[str]:
    if ID not in header:
        yield f"header: column '{ID}' is missing; found are {', '.join(header) or 'none'}"
    if IMAGE in header:
        yield f"header: column '{IMAGE}' is made of the folder; remove it"
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            yield f"header: column '{name}' appears {header.count(name)} times; keep one"


def _line_faults(header: list[str], lines: Sequence[tuple[int, list[str]]]) -> Iterator[str]:
    first: dict[str, int] = {}
    for line, cells in lines:
        if len(cells) != len(header):
            yield f"line {line}: {len(cells)} cells where the header has {len(header)}"
        elif ID in header:
            name = cells[header.index(ID)]
            if not name:
                yield f"line {line}, {ID}: empty; give the id of a scan"
            elif name in first:
                yield f"line {line}, {ID}: '{name}' is already on line {first[name]}; keep one"
            first.setdefault(name, line)
