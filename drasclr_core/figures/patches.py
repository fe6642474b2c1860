"""The picture of patches, their nearest ones, and a map of the disease: large enough to be read at 900 pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from drasclr_core.evaluate.disease_map import CoronalSlice
from drasclr_core.figures.drawing import new_figure

WINDOW_HU = (-1350, 150)
TRAINED, UNTRAINED = "trained", "untrained"
SCALE = "YlOrRd"
MARGIN_VOXELS = 5
LARGE, MEDIUM = 15, 13

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ShownPatch:
    """A patch's middle axial slice in HU, (P, P), and its true share of disease, NaN where it is not known."""

    slice_hu: npt.NDArray[np.int16]
    share: float


@dataclass(frozen=True)
class Question:
    """A patch, and by features its nearest ones, nearest first."""

    asked: ShownPatch
    found: dict[str, list[ShownPatch]]


@dataclass(frozen=True)
class DiseaseMap:
    """A slice, and of each patch its true share and by features the estimate, (L,); by features R2 over all people."""

    place: CoronalSlice
    shares: Floats
    estimates: Mapping[str, Floats]
    scores: Mapping[str, float | None]


def draw_neighbours(
    questions: Sequence[Question], differences: Mapping[str, float], found: DiseaseMap | None
) -> Figure:
    """Return a row for each patch asked about, with those found by each features; below, if given, the maps.

    Parameters
    ----------
    questions : sequence of Question
    differences : mapping
        Features -> by how much the shares of those found differ on average, 0 to 1; empty where no share is known.
    found : DiseaseMap or None
    """
    groups = [group for each in questions for group in ([each.asked], *each.found.values())]
    shares = [patch.share for group in groups for patch in group] + ([] if found is None else list(found.shares))
    # Rounded up to a tenth, so that the scale ends at a number that is easy to read.
    scale = Normalize(0, max(0.1, np.ceil(10 * np.nanmax(shares)) / 10) if differences else 1)
    if found is None:
        figure = new_figure(11, 5)
        (whole,) = _parts(figure, 1, 1)
        _draw_questions(whole, questions, differences, scale)
        return figure
    figure = new_figure(11, 8.6)
    above, below = _parts(figure, 2, 1, height_ratios=[5.2, 3.4])
    _draw_questions(above, questions, differences, scale)
    _draw_maps(below, found, scale)
    return figure


def _draw_questions(
    panel: SubFigure, questions: Sequence[Question], differences: Mapping[str, float], scale: Normalize
) -> None:
    title = "The most similar patches of other people, at the same place in the lung"
    panel.suptitle(title, fontsize=LARGE, weight="bold")
    names = list(questions[0].found)
    columns = [[[each.asked] for each in questions], *([each.found[name] for each in questions] for name in names)]
    told = {name: f"emphysema differs by {100 * value:.1f} points on average" for name, value in differences.items()}
    titles = [
        "patch and its\nemphysema" if told else "patch\n",
        *(f"found by the {name} encoder\n{told.get(name, '')}" for name in names),
    ]
    widths = [max(map(len, column)) for column in columns]
    groups = _parts(panel, 1, len(columns), width_ratios=[1.18, *widths[1:]])
    for group, column, width, words in zip(groups, columns, widths, titles, strict=True):
        group.suptitle(words, fontsize=MEDIUM)
        grid = group.subplots(len(questions), width, squeeze=False)
        for patches, line in zip(column, grid.tolist(), strict=True):
            for axes in line:
                _bare(axes)
            for patch, axes in zip(patches, line, strict=False):
                _draw_patch(axes, patch, scale)


def _draw_patch(axes: Axes, patch: ShownPatch, scale: Normalize) -> None:
    axes.imshow(patch.slice_hu, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
    if np.isfinite(patch.share):
        axes.spines[:].set(visible=True, color=colormaps[SCALE](scale(patch.share)), linewidth=6)
        axes.set_xlabel(f"{patch.share:.0%}", fontsize=MEDIUM, labelpad=4)


def _draw_maps(panel: SubFigure, found: DiseaseMap, scale: Normalize) -> None:
    title = "The emphysema of one person, read from the features by a linear probe"
    panel.suptitle(title, fontsize=LARGE, weight="bold")
    place = found.place
    shown = _box(place.lungs)
    titles = ["true emphysema", "true share, by patch"]
    titles += [f"read from the {name}\nencoder (R² {_score(score)})" for name, score in found.scores.items()]
    line = panel.subplots(1, len(titles))
    for axes, words, values in zip(line, titles, [None, found.shares, *found.estimates.values()], strict=True):
        _bare(axes)
        axes.set_title(words, fontsize=MEDIUM)
        axes.imshow(place.ct_hu[shown], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower")
        inside, colour = (place.diseased, 1.0) if values is None else (place.lungs, values[place.patch])
        coloured = np.where(inside, colour, np.nan)[shown]
        axes.imshow(coloured, cmap=SCALE, norm=Normalize(0, 1.3) if values is None else scale, origin="lower")
    bar = panel.colorbar(ScalarMappable(scale, SCALE), ax=line, fraction=0.02, pad=0.01, shrink=0.8, format="{x:.0%}")
    bar.set_label("lung with\nemphysema", fontsize=MEDIUM)
    bar.ax.tick_params(labelsize=MEDIUM)


def _parts(figure: Figure | SubFigure, rows: int, columns: int, **ratios: Any) -> list[SubFigure]:
    return list(np.ravel(figure.subfigures(rows, columns, squeeze=False, **ratios)))


def _box(lungs: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the part of a slice, (Z, X), that holds the lungs, with a margin."""
    ends = [np.flatnonzero(lungs.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    z, x = (slice(max(low - MARGIN_VOXELS, 0), high + 1 + MARGIN_VOXELS) for low, high in ends)
    return z, x


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
