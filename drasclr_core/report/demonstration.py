"""What the first command shows on the terminal: two tables in short, and where the rest lies."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from drasclr_core.evaluate.pooled import FEW_PEOPLE
from drasclr_core.evaluate.truth import EMPHYSEMA
from drasclr_core.report.tables_figures import few_people_note, table_value

WIDTH = 96
RUNS = {
    "location": "location alone",
    "histogram": "histogram of HU",
    "histogram3": "three-scale histogram",
    "untrained": "untrained encoder",
    "drasclr": "DrasCLR",
}
"""Rows of ``known_truth.csv`` that are shown, by run; the first three learn nothing."""

COLUMNS = {
    "log_fev1pp_r2": ("log FEV1pp,\nR²", 2),
    "gold_accuracy_pct": ("GOLD stage,\naccuracy, %", 1),
    "cle_accuracy_pct": ("emphysema grade,\naccuracy, %", 1),
}
"""Columns of Table 2 that are shown, with their headings and decimals."""

Cells = Mapping[str, str]


def demonstration_text(truth: Sequence[Cells], labels: Sequence[Cells], places: Mapping[str, str]) -> str:
    """Return what is printed, in lines of at most `WIDTH` characters.

    Parameters
    ----------
    truth, labels : sequences of mappings
        Rows of ``known_truth.csv`` and of ``table2.csv``; an empty text is a missing value.
    places : mapping
        What is there -> where it lies, or the command that makes it.
    """
    rows = [row for row in truth if row["disease"] == EMPHYSEMA and row["run"] in RUNS]
    if any(
        row["features"] not in ("", "last") for row in rows
    ):  # the last layer alone is then a second reading of each
        rows = [row for row in rows if row["features"] != "last"]
    console = Console(width=WIDTH, color_system=None, force_terminal=False, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(_truth_table(rows))
        console.print("1 is perfect, 0 no better than the mean. In brackets 95 % intervals over people.")
        for row in rows:
            if row["warning"]:
                console.print(f"Warning, {row['run']}: {row['warning']}.")
        console.print("", _labels_table(labels), sep="\n")
        if any(
            key.endswith("_people") and text and int(text) < FEW_PEOPLE for row in labels for key, text in row.items()
        ):
            console.print(few_people_note())
        console.print("", *(f"{what}: {where}" for what, where in places.items()), sep="\n")
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _truth_table(rows: Sequence[Cells]) -> Table:
    table = _table("How much of a patch's true emphysema a linear probe reads: R²", "read from")
    several = {run for run, count in Counter(row["run"] for row in rows).items() if count > 1}
    kinds = {"": "{}\nwhose patches were seen", "unseen_": "{}\nthat no training saw"}
    there = [kind for kind in kinds if rows[0][f"{kind}subjects"]]
    for kind in there:
        table.add_column(kinds[kind].format(f"{rows[0][f'{kind}subjects']} phantoms"), justify="right")
    for row in rows:
        seed = f", seed {row['seed']}" if row["run"] in several else ""
        table.add_row(RUNS[row["run"]] + seed, *(_interval(row, kind) for kind in there))
    return table


def _interval(row: Cells, kind: str) -> str:
    figures = [row[f"{kind}{name}"] for name in ("r2", "low", "high")]
    return "{:z.2f} [{:z.2f}, {:z.2f}]".format(*map(float, figures)) if all(figures) else "–"


def _labels_table(rows: Sequence[Cells]) -> Table:
    table = _table("What a person's features tell of their labels (from Table 2)", "method")
    for heading, _ in COLUMNS.values():
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = {key: float(text) if text else None for key, text in row.items() if key.startswith(tuple(COLUMNS))}
        table.add_row(row["method"], *(table_value(numbers, name, each) for name, (_, each) in COLUMNS.items()))
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, vertical="bottom")
    return table
