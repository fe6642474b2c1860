"""What every figure shares: colours that colour-blind readers tell apart, sizes, and how it is written."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drasclr_core.io import atomic_path

# Okabe and Ito, "Color universal design", 2008; without yellow, which vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#8c8c8c"
DPI = 200
SEQUENTIAL = "viridis"


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure, sizes in inches; it belongs to no window and to no global list."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def plain_axes(axes: Axes) -> None:
    """Take away the frame's upper and right line."""
    axes.spines[["top", "right"]].set_visible(False)


def write_figure(figure: Figure, data: pd.DataFrame, png: str | Path, csv: str | Path) -> None:
    """Write a figure as PNG and what it shows as CSV, each atomically; the same figure gives the same bytes."""
    with atomic_path(png) as partial:
        figure.savefig(partial, dpi=DPI, format="png", metadata={"Software": None})
    with atomic_path(csv) as partial:
        data.to_csv(partial, index=False, lineterminator="\n", float_format="%.6g")
