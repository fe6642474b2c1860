"""The experiment files: which runs and tasks a table needs, and what the paper says.

Importing this module loads the standard library, PyYAML and jsonschema only: the Snakefile does it at every start.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from drasclr_core.base.documents import raise_faults, read_yaml, schema_faults
from drasclr_core.base.errors import InputError
from drasclr_core.config.tasks import OTHER_TASKS, TASKS, evaluation_name

_METRICS = {name: task.metrics for name, task in TASKS.items()} | {
    name: task.metrics for name, task in OTHER_TASKS.items()
}


Alternative = Literal["greater", "two-sided"]

NOT_AVAILABLE = "not available"
"""In place of what the paper gives in its appendix, which is not part of the text at hand."""


@dataclass(frozen=True)
class Column:
    """One figure of one task; `format` is "ratio" (as computed) or "percent" (times 100)."""

    section: str
    label: str
    task: str
    metric: str
    format: str


@dataclass(frozen=True)
class Row:
    """One method: a run of ours (None: not run here), and the paper's (value, standard deviation) by column.

    `variant` says how the tasks are done that can be done in several ways (`tasks.OTHER_TASKS`).
    """

    label: str
    run: str | None
    variant: str | None = None
    group: str = ""
    note: str = ""
    paper: dict[str, tuple[float, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A table as declared in ``experiments/*.yaml``; columns and rows in the order of the file.

    `paper` says whether the paper's values stand beside ours.
    """

    title: str
    cohort: str
    columns: dict[str, Column]
    rows: tuple[Row, ...]
    paper: bool = True


@dataclass(frozen=True)
class Comparison:
    """A table of significance tests: one row of a table against others of it, column by column.

    Attributes
    ----------
    title : str
    table : str
        The experiment whose evaluations are compared.
    row : str
        Label of the row compared.
    group : str
        Of the rows compared, where the table has groups.
    against : tuple of str
        Labels of the rows that it is compared with.
    alternative : "greater" or "two-sided"
        Whether the row is expected to be better, or only different.
    paper_p : str, optional
        What the paper says of p; None where it is not to be told.
    """

    title: str
    table: str
    row: str
    against: tuple[str, ...]
    alternative: Alternative
    group: str = ""
    paper_p: str | None = NOT_AVAILABLE


def load_experiment(path: str | Path) -> Experiment:
    """Read an experiment file and check it against ``schemas/experiment.schema.yaml`` and the tasks.

    Parameters
    ----------
    path : path
        A YAML file.

    Returns
    -------
    Experiment

    Raises
    ------
    InputError
        If the file is absent or no YAML, a key stands twice, or with every other fault at once, by dotted key.
    """
    content = read_yaml(path)
    raise_faults(str(path), schema_faults(content, "experiment") or list(_cross_faults(content)))
    return Experiment(
        title=content["title"],
        cohort=content["cohort"],
        columns={name: Column(**column) for name, column in content["columns"].items()},
        rows=tuple(_row(row) for row in content["rows"]),
    )


def load_comparison(path: str | Path) -> Comparison:
    """Read a file of significance tests and check it against ``schemas/comparison.schema.yaml``.

    Raises
    ------
    InputError
        If the file is absent or no YAML, a key stands twice, or with every other fault at once, by dotted key.
    """
    content = read_yaml(path)
    raise_faults(str(path), schema_faults(content, "comparison"))
    return Comparison(**{**content, "against": tuple(content["against"])})


def without_paper(experiment: Experiment) -> Experiment:
    """Return a table as it is for phantoms: without the paper's values and the methods that have only these."""
    return replace(experiment, rows=tuple(row for row in experiment.rows if row.run), paper=False)


def comparison_without_paper(comparison: Comparison, experiment: Experiment) -> Comparison:
    """Return the tests as they are for phantoms: without what the paper says, and without methods not run here."""
    _, others = compared_rows(comparison, experiment)
    return replace(comparison, against=tuple(row.label for row in others if row.run), paper_p=None)


def row_results(experiment: Experiment, row: Row) -> dict[str, tuple[str, str]]:
    """Return column -> (run, evaluation) of a row; empty for a method that is not run here."""
    if row.run is None:
        return {}
    columns = experiment.columns.items()
    return {name: (row.run, evaluation_name(column.task, row.variant)) for name, column in columns}


def required_results(experiment: Experiment) -> list[tuple[str, str]]:
    """Return the (run, evaluation) pairs that the table needs, each once, in the table's order."""
    pairs = [pair for row in experiment.rows for pair in row_results(experiment, row).values()]
    return list(dict.fromkeys(pairs))


def compared_rows(comparison: Comparison, experiment: Experiment) -> tuple[Row, list[Row]]:
    """Return the row of the experiment that is compared, and those that it is compared with.

    Raises
    ------
    InputError
        If the experiment lacks one of them, has several of that label, or does not run the first.
    """
    group = comparison.group
    named: dict[str, list[Row]] = {}
    for row in experiment.rows:
        if not group or row.group == group:
            named.setdefault(row.label, []).append(row)
    wrong = [label for label in (comparison.row, *comparison.against) if len(named.get(label, [])) != 1]
    if wrong:
        raise InputError(
            f"'{comparison.title}': {comparison.table} has no row, or several, labelled {', '.join(wrong)}."
        )
    row = named[comparison.row][0]
    if row.run is None:
        raise InputError(f"'{comparison.title}': {comparison.table} does not run '{row.label}'.")
    return row, [named[label][0] for label in comparison.against]


def compared_results(comparison: Comparison, experiment: Experiment) -> list[tuple[str, str]]:
    """Return the (run, evaluation) pairs that the tests need, each once."""
    row, others = compared_rows(comparison, experiment)
    return list(dict.fromkeys(pair for each in (row, *others) for pair in row_results(experiment, each).values()))


def _cross_faults(content: dict[str, Any]) -> Iterator[str]:
    columns = content["columns"]
    for name, column in columns.items():
        metrics = _METRICS.get(column["task"])
        if metrics is None:
            yield f"columns.{name}.task: '{column['task']}' is not one of {', '.join([*TASKS, *OTHER_TASKS])}"
        elif column["metric"] not in metrics:
            yield f"columns.{name}.metric: '{column['metric']}' is not one of {', '.join(metrics)}"
    labels = [(row.get("group"), row["label"]) for row in content["rows"]]
    for index, row in enumerate(content["rows"]):
        if labels[index] in labels[:index]:
            yield f"rows.{index}.label: '{row['label']}' already names row {labels.index(labels[index])}"
        yield from _row_faults(f"rows.{index}", row, columns)


def _row_faults(key: str, row: dict[str, Any], columns: dict[str, Any]) -> Iterator[str]:
    for name in row.get("paper", {}):
        if name not in columns:
            yield f"{key}.paper.{name}: no such column; the columns are {', '.join(columns)}"
    if row["run"] is None:
        return
    variant = row.get("variant")
    for task in sorted({column["task"] for column in columns.values()}):
        if task in TASKS and variant is not None:
            yield f"{key}.variant: '{variant}', but {task} has no variants"
        if task in OTHER_TASKS and variant not in OTHER_TASKS[task].variants:
            yield f"{key}.variant: '{variant}' is not one of {', '.join(OTHER_TASKS[task].variants)}, those of {task}"


def _row(content: dict[str, Any]) -> Row:
    paper = {name: (float(value), sd) for name, (value, sd) in content.get("paper", {}).items()}
    return Row(**{**content, "paper": paper})
