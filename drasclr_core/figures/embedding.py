"""Subjects in two projections of their features, coloured by their labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drasclr_core.base.errors import InputError
from drasclr_core.base.tables import whole
from drasclr_core.cohort.table import validate_participants
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.evaluate.embedding_map import MIN_SUBJECTS, map_subjects
from drasclr_core.evaluate.probes import ALL_FOLDS, read_features
from drasclr_core.figures.drawing import COLOURS, GREY, SEQUENTIAL, Drawing, empty_drawing, new_figure, plain_axes

MOST_CLASSES = 8
"""A label with more values than this, or with fractions, is drawn as a scale."""

NAMES = {
    "gold": "GOLD stage",
    "cle": "centrilobular grade",
    "fev1pp": "FEV1, % predicted",
    "covid_grade": "CT severity grade",
}
PRISM = -1


def draw(spec: FigureSpec, paths: Mapping[str, Any], settings: Mapping[str, Any]) -> Drawing:
    """Draw the embedding map of a run.

    Parameters
    ----------
    spec : FigureSpec
        Of the kind embedding_map.
    paths : mapping
        `features`, a run's features folder, and `participants`, the checked table.
    settings : mapping
        `seed`.

    Raises
    ------
    InputError
        If the run has features per fold, or too few subjects.
    """
    features = read_features(paths["features"])
    if set(features["fold"]) != {ALL_FOLDS}:
        raise InputError(f"{spec.run} has other features in each fold: an embedding map needs one for all.")
    if len(features) < MIN_SUBJECTS:
        return empty_drawing(
            pd.DataFrame(columns=["participant_id"]), f"n = {len(features)} subjects: a map needs {MIN_SUBJECTS}."
        )
    places, explained = map_subjects(features.drop(columns=["participant_id", "fold"]).to_numpy(), settings["seed"])
    places.insert(0, "participant_id", features["participant_id"])
    known = validate_participants(whole(paths["participants"]))
    labels = [name for name in spec.labels if name in known and known[name].notna().any()]
    data = places.merge(known[["participant_id", *labels]], on="participant_id", how="left", validate="one_to_one")
    absent = [f"The participants table has no {name}." for name in spec.labels if name not in labels]
    notes = [f"n = {len(data)} subjects, run {spec.run}; grey: no label.", *absent]
    return Drawing(draw_map(data, labels, explained), data, notes)


def draw_map(data: pd.DataFrame, labels: list[str], explained: np.ndarray) -> Figure:
    """Return a row of panels per projection, one panel per label (one in all if there is none).

    Parameters
    ----------
    data : DataFrame
        pca_1, pca_2, tsne_1, tsne_2 and the labels.
    labels : list of str
        Columns of `data`.
    explained : (2,) array
        Shares of the variance that the principal components hold.
    """
    columns: list[str | None] = [*labels] or [None]
    figure = new_figure(0.8 + 3.9 * len(columns), 6.4)
    grid = figure.subplots(2, len(columns), squeeze=False)
    for row, panels in zip(("pca", "tsne"), grid.tolist(), strict=True):
        for label, axes in zip(columns, panels, strict=True):
            _scatter(axes, data[f"{row}_1"], data[f"{row}_2"], None if label is None else data[label])
            axes.set(title="" if label is None else NAMES.get(label, label.replace("_", " ")))
    for above, below in grid.T:
        above.set(xlabel=f"PC 1 ({explained[0]:.0%} of variance)")
        below.set(xlabel="t-SNE 1", title="")
    grid[0, 0].set(ylabel=f"PC 2 ({explained[1]:.0%})")
    grid[1, 0].set(ylabel="t-SNE 2")
    return figure


def _scatter(axes: Axes, x: pd.Series, y: pd.Series, label: pd.Series | None) -> None:
    plain_axes(axes)
    axes.set(xticks=[], yticks=[])
    known = label.notna() if label is not None else pd.Series(False, index=x.index)
    axes.scatter(x[~known], y[~known], s=12, color=GREY, alpha=0.6, linewidths=0)
    if label is None:
        return
    values = sorted(label[known].unique())
    if len(values) > MOST_CLASSES or any(value % 1 for value in values):
        points = axes.scatter(x[known], y[known], s=16, c=label[known], cmap=SEQUENTIAL, linewidths=0)
        axes.figure.colorbar(points, ax=axes, fraction=0.05)
        return
    steps = colormaps[SEQUENTIAL](np.linspace(0, 0.95, len(values)))
    for value, step in zip(values, steps, strict=True):
        chosen = known & (label == value)
        colour = COLOURS[1] if value == PRISM else step  # PRISm is no step of the scale
        axes.scatter(x[chosen], y[chosen], s=16, color=colour, linewidths=0, label=_class_name(value, chosen.sum()))
    axes.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)


def _class_name(value: float, count: int) -> str:
    return f"{'PRISm' if value == PRISM else f'{value:g}'} (n={count})"
