"""The experiment files: which runs and tasks a table needs, and what the paper says.

Importing this module loads the standard library, PyYAML and jsonschema only: the Snakefile does it at every start.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drasclr_core.documents import raise_faults, read_yaml, schema_faults
from drasclr_core.tasks import TASKS


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
    """One method: a run of ours (None: not run here), and the paper's (value, standard deviation) by column."""

    label: str
    run: str | None
    group: str = ""
    note: str = ""
    paper: dict[str, tuple[float, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A table as declared in ``experiments/*.yaml``; columns and rows in the order of the file."""

    title: str
    cohort: str
    columns: dict[str, Column]
    rows: tuple[Row, ...]


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


def required_results(experiment: Experiment) -> list[tuple[str, str]]:
    """Return the (run, task) pairs whose evaluations the table needs, each once, in the table's order."""
    pairs = [
        (row.run, column.task)
        for row in experiment.rows
        for column in experiment.columns.values()
        if row.run is not None
    ]
    return list(dict.fromkeys(pairs))


def _cross_faults(content: dict[str, Any]) -> Iterator[str]:
    columns = content["columns"]
    for name, column in columns.items():
        task = TASKS.get(column["task"])
        if task is None:
            yield f"columns.{name}.task: '{column['task']}' is not one of {', '.join(TASKS)}"
        elif column["metric"] not in task.metrics:
            yield f"columns.{name}.metric: '{column['metric']}' is not one of {', '.join(task.metrics)}"
    labels = [row["label"] for row in content["rows"]]
    for index, row in enumerate(content["rows"]):
        if row["label"] in labels[:index]:
            yield f"rows.{index}.label: '{row['label']}' already names row {labels.index(row['label'])}"
        for name in row.get("paper", {}):
            if name not in columns:
                yield f"rows.{index}.paper.{name}: no such column; the columns are {', '.join(columns)}"


def _row(content: dict[str, Any]) -> Row:
    paper = {name: (float(value), sd) for name, (value, sd) in content.get("paper", {}).items()}
    return Row(**{**content, "paper": paper})
