"""The curves of one training, from its metrics.csv."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drasclr_core.base.errors import DamagedError, InputError
from drasclr_core.figures.drawing import COLOURS, GREY, new_figure, plain_axes
from drasclr_core.train.collapse import EFFECTIVE_RANK, UNIFORMITY, collapse_of

SMOOTHED_SHARE = 0.05
"""Rows of the running median, of all rows: each row is of the landmarks that its steps happened to show."""

FEW_ROWS = 10
"""At most so many rows are marked: a line of one alone would not be seen."""

MEASURES = {
    "losses": {"loss_local": "local", "loss_neighbour": "neighbour"},
    "relative": {"loss_local_relative": "local", "loss_neighbour_relative": "neighbour"},
    "rate": {"learning_rate": "learning rate"},
    "top1": {"top1_accuracy": "negatives of the loss", "top1_fresh": "fresh keys"},
    "win": {"win_rate": "negatives of the loss", "win_rate_fresh": "fresh keys"},
    "age": {"negatives_age": "age of the negatives"},
    "uniformity": {"uniformity": "uniformity"},
    "rank": {"effective_rank": "effective rank"},
}
TITLES = {
    "losses": "loss (nats)",
    "relative": "loss / log(n+1)",
    "rate": "learning rate",
    "top1": "top-1 accuracy",
    "win": "win rate",
    "age": "age of the negatives (steps)",
    "uniformity": "uniformity",
    "rank": "effective rank of h",
}
LIMITS = {"relative": 1.0, "win": 0.5, "uniformity": UNIFORMITY, "rank": EFFECTIVE_RANK}
"""Dotted lines: features that are all alike; chance; a collapse above; a collapse below."""


def read_metrics(path: str | Path) -> pd.DataFrame:
    """Return a training's ``metrics.csv``.

    Raises
    ------
    DamagedError
        If it does not end with a line, or a cell holds no number.
    """
    path = Path(path)
    if not path.read_bytes().endswith(b"\n"):
        raise DamagedError(path, "it ends too early")
    try:
        return pd.read_csv(path, dtype=float)
    except ValueError as error:
        raise DamagedError(path, str(error)) from error


def training_curves(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return what the curves show: step, each measure as logged, and its running median ``*_smooth``.

    Parameters
    ----------
    metrics : DataFrame
        A run's ``metrics.csv``; empty for an encoder that was not trained.

    Raises
    ------
    InputError
        If a column is missing.
    """
    measures = [name for group in MEASURES.values() for name in group]
    missing = [name for name in ("step", *measures) if name not in metrics]
    if missing:
        raise InputError(f"metrics.csv has no column {', '.join(missing)}: train again.")
    curves = metrics[["step", *measures]].copy()
    window = max(1, round(SMOOTHED_SHARE * len(curves)))
    for name in measures:
        curves[f"{name}_smooth"] = curves[name].rolling(window, center=True, min_periods=1).median()
    return curves


def draw_training(curves: pd.DataFrame) -> Figure:
    """Return a panel over the steps for each of `MEASURES`.

    Parameters
    ----------
    curves : DataFrame
        From `training_curves`.
    """
    figure = new_figure(11, 5.2)
    panels = dict(zip(MEASURES, figure.subplots(2, 4).flat, strict=True))
    for panel, measures in MEASURES.items():
        axes = panels[panel]
        for colour, (name, label) in zip(COLOURS, measures.items(), strict=False):
            if curves[name].any():  # a run without neighbours has a neighbour loss of 0
                _draw_measure(axes, curves, name, label, colour)
        if len(curves) and not axes.lines:
            axes.text(0.5, 0.5, "always 0", ha="center", color=GREY, transform=axes.transAxes)
        axes.set(xlabel="step", title=TITLES[panel])
        plain_axes(axes)
        if len(measures) > 1 and len(curves):
            axes.legend(frameon=False, fontsize="small")
    for panel, limit in LIMITS.items():
        panels[panel].axhline(limit, color=GREY, linestyle=":", linewidth=1)
    panels["top1"].set_ylim(0, 1)
    return figure


def describe_training(curves: pd.DataFrame) -> list[str]:
    """Return what is to be said: steps and where the smoothed measures ended; and a collapse, if there was one."""
    if curves.empty:
        return ["Not trained: the encoder is as it was initialised."]
    last = curves.iloc[-1]
    sentence = (
        f"{last['step']:.0f} steps; at the end, smoothed: local loss {last['loss_local_smooth']:.2f} "
        f"({last['loss_local_relative_smooth']:.2f} of log(n+1), n negatives)"
    )
    if curves["loss_neighbour"].any():
        sentence += f", neighbour loss {last['loss_neighbour_smooth']:.2f}"
    sentence += (
        f", top-1 accuracy {last['top1_accuracy_smooth']:.2f} against the negatives of the loss and "
        f"{last['top1_fresh_smooth']:.2f} against fresh keys, uniformity {last['uniformity_smooth']:.2f}, "
        f"effective rank {last['effective_rank_smooth']:.1f}."
    )
    warning = collapse_of([dict(row) for _, row in curves.iterrows()])
    return [sentence, f"Warning: {warning}."] if warning else [sentence]


def _draw_measure(axes: Axes, curves: pd.DataFrame, name: str, label: str, colour: str) -> None:
    marker = "o" if len(curves) <= FEW_ROWS else None
    axes.plot(curves["step"], curves[name], color=colour, alpha=0.25, linewidth=0.7)
    axes.plot(curves["step"], curves[f"{name}_smooth"], color=colour, label=label, linewidth=1.6, marker=marker)
