"""The curves of one training, from its metrics.csv."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drasclr_core.errors import InputError
from drasclr_core.figures import COLOURS, GREY, new_figure, plain_axes

SMOOTHED_SHARE = 0.05
"""Rows of the running median, of all rows: each row is of the landmarks that its steps happened to show."""

MEASURES = {
    "losses": {"loss_local": "local", "loss_neighbour": "neighbour"},
    "relative": {"loss_local_relative": "local", "loss_neighbour_relative": "neighbour"},
    "top1": {"top1_accuracy": "positive scored highest"},
    "rate": {"learning_rate": "learning rate"},
}
TITLES = {
    "losses": "loss (nats)",
    "relative": "loss / log(K+1)",
    "top1": "top-1 accuracy",
    "rate": "learning rate",
}


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
    """Return four panels over the steps: both losses, both over log(K+1), top-1 accuracy, learning rate.

    Parameters
    ----------
    curves : DataFrame
        From `training_curves`.
    """
    figure = new_figure(11, 2.6)
    panels = figure.subplots(1, len(MEASURES))
    for axes, (panel, measures) in zip(panels, MEASURES.items(), strict=True):
        for colour, (name, label) in zip(COLOURS, measures.items(), strict=False):
            if curves[name].any():  # a run without neighbours has a neighbour loss of 0
                _draw_measure(axes, curves, name, label, colour)
        axes.set(xlabel="step", title=TITLES[panel])
        plain_axes(axes)
        if len(measures) > 1 and len(curves):
            axes.legend(frameon=False, fontsize="small")
    panels[1].axhline(1.0, color=GREY, linestyle=":", linewidth=1)
    panels[2].set_ylim(0, 1)
    return figure


def describe_training(curves: pd.DataFrame) -> str:
    """Return one sentence: steps, and where the smoothed measures ended."""
    if curves.empty:
        return "Not trained: the encoder is as it was initialised."
    last = curves.iloc[-1]
    sentence = (
        f"{last['step']:.0f} steps; at the end, smoothed: local loss {last['loss_local_smooth']:.2f} "
        f"({last['loss_local_relative_smooth']:.2f} of log(K+1))"
    )
    if curves["loss_neighbour"].any():
        sentence += f", neighbour loss {last['loss_neighbour_smooth']:.2f}"
    return f"{sentence}, top-1 accuracy {last['top1_accuracy_smooth']:.2f}."


def _draw_measure(axes: Axes, curves: pd.DataFrame, name: str, label: str, colour: str) -> None:
    axes.plot(curves["step"], curves[name], color=colour, alpha=0.25, linewidth=0.7)
    axes.plot(curves["step"], curves[f"{name}_smooth"], color=colour, label=label, linewidth=1.6)
