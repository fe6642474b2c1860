"""The figures' experiment files: what is drawn, of which runs, for which cohort.

Importing this module loads the standard library, PyYAML and jsonschema only: the Snakefile does it at every start.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drasclr_core.base.documents import raise_faults, read_yaml, schema_faults
from drasclr_core.config.tasks import COLUMN_SETS, TASKS


@dataclass(frozen=True)
class FigureKind:
    """One way to draw: the module that does, the keys that its file must have beside the common ones, what it needs."""

    module: str
    keys: tuple[str, ...] = ()
    needs_boxes: bool = False


KINDS = {
    "embedding_map": FigureKind("embedding", ("labels",)),
    "landmark_importance": FigureKind("importance", ("tasks",)),
    "survival": FigureKind("survival", ("variant",)),
    "dense_masks": FigureKind("masks", needs_boxes=True),
    "emphysema_fraction": FigureKind("detection", needs_boxes=True),
    "annotation_efficiency": FigureKind("detection", needs_boxes=True),
    "patch_neighbours": FigureKind("neighbours", ("reference",)),
}


@dataclass(frozen=True)
class FigureSpec:
    """A figure as declared in ``experiments/figure*.yaml``.

    Attributes
    ----------
    title : str
    cohort : str
        A role, such as copd; the config says which cohort plays it.
    figure : str
        One of `KINDS`.
    run : str
        The run of the config that is drawn.
    notes : tuple of str
        Sentences below the figure.
    labels : tuple of str
        Columns of the participants table that colour an embedding map.
    tasks : tuple of str
        Names of `drasclr_core.config.tasks.TASKS`.
    variant : str
        A name of `drasclr_core.config.tasks.COLUMN_SETS`: what joins the features in a survival model.
    reference : str
        A run without training, drawn beside `run`.
    """

    title: str
    cohort: str
    figure: str
    run: str
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    variant: str = ""
    reference: str = ""

    @property
    def runs(self) -> list[str]:
        """The runs that the figure needs, each once."""
        return [self.run, *([self.reference] if self.reference else [])]


def load_figure(path: str | Path) -> FigureSpec:
    """Read a figure's file and check it against ``schemas/figure.schema.yaml``, the kinds and the tasks.

    Raises
    ------
    InputError
        If the file is absent or no YAML, a key stands twice, or with every other fault at once, by dotted key.
    """
    content = read_yaml(path)
    raise_faults(str(path), schema_faults(content, "figure") or list(_cross_faults(content)))
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return FigureSpec(**fields)


def _cross_faults(content: dict[str, Any]) -> Iterator[str]:
    kind = KINDS[content["figure"]]
    for key in kind.keys:
        if key not in content:
            yield f"{key}: required by figure: {content['figure']}"
    own = {key for other in KINDS.values() for key in other.keys}
    for key in sorted(own & content.keys() - set(kind.keys)):
        yield f"{key}: of no use to figure: {content['figure']}"
    for index, task in enumerate(content.get("tasks", [])):
        if task not in TASKS:
            yield f"tasks.{index}: '{task}' is not one of {', '.join(TASKS)}"
    if content.get("variant", "imaging") not in COLUMN_SETS:
        yield f"variant: '{content['variant']}' is not one of {', '.join(COLUMN_SETS)}"
