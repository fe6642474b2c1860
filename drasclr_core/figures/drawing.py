"""What every figure shares: colours that colour-blind readers tell apart, sizes, and how it is written."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from drasclr_core.base.files import atomic_path, write_json
from drasclr_core.config.figure_specs import KINDS, FigureSpec

# Okabe and Ito, "Color universal design", 2008; without yellow, which vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#8c8c8c"
DPI = 200
SEQUENTIAL = "viridis"


@dataclass(frozen=True)
class Drawing:
    """A figure, the numbers that it shows, and what a reader must know of them; `drawn`: whether it shows any."""

    figure: Figure
    data: pd.DataFrame
    notes: Sequence[str]
    drawn: bool = True


def make_figure(
    spec: FigureSpec, paths: Mapping[str, Any], settings: Mapping[str, Any], png: str | Path, csv: str | Path
) -> None:
    """Draw what an experiment file declares; write PNG, CSV and, beside the PNG, title, notes and `drawn` as JSON.

    Parameters
    ----------
    spec : FigureSpec
        Its kind names the module whose ``draw(spec, paths, settings)`` is called.
    paths : mapping
        The files to read, by the names that this kind's `draw` documents.
    settings : mapping
        `seed` and `readout` of the configuration; `trainings`, how many the run has, of which the first is drawn.
    png, csv : paths
        To write.
    """
    drawing: Drawing = import_module(f"drasclr_core.figures.{KINDS[spec.figure].module}").draw(spec, paths, settings)
    write_figure(drawing.figure, drawing.data, png, csv)
    count = settings["trainings"]
    several = [f"Of {count} trainings of {spec.run}, with other seeds, the first."] if count > 1 else []
    notes = [*drawing.notes, *several, *spec.notes]
    write_json(Path(png).with_suffix(".json"), {"title": spec.title, "notes": notes, "drawn": drawing.drawn})


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure, sizes in inches; it belongs to no window and to no global list."""
    return Figure(figsize=(width_in, height_in), layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.06))


def empty_drawing(data: pd.DataFrame, reason: str) -> Drawing:
    """Return a drawing that is the reason why there is none: a small cohort may lack what a figure needs."""
    lines = textwrap.wrap(reason, 90)
    figure = new_figure(7, 0.2 * (len(lines) + 2))
    figure.text(0.02, 0.5, "\n".join(lines), va="center", fontsize=10)
    return Drawing(figure, data, [reason], drawn=False)


def plain_axes(axes: Axes) -> None:
    """Take away the frame's upper and right line."""
    axes.spines[["top", "right"]].set_visible(False)


def write_figure(figure: Figure, data: pd.DataFrame, png: str | Path, csv: str | Path) -> None:
    """Write a figure as PNG and what it shows as CSV, each atomically; the same figure gives the same bytes."""
    with atomic_path(png) as partial:
        figure.savefig(partial, dpi=DPI, format="png", metadata={"Software": None})
    with atomic_path(csv) as partial:
        data.to_csv(partial, index=False, lineterminator="\n", float_format="%.6g")
