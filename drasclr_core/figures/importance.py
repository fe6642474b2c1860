"""How much each landmark's features tell of a label, drawn on the atlas lungs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drasclr_core.base.stores import Store
from drasclr_core.base.tables import whole
from drasclr_core.cohort.folds import read_folds
from drasclr_core.cohort.table import validate_participants
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.evaluate.embedding_map import landmark_importance
from drasclr_core.figures.drawing import SEQUENTIAL, Drawing, empty_drawing, new_figure

AXES = ("x", "y", "z")
ARRAY_AXIS = {"z": 0, "y": 1, "x": 2}
VIEWS = {"coronal": ("x", "z"), "sagittal": ("y", "z"), "axial": ("x", "y")}
WORDS = {"x": "right – left, mm", "y": "front – back, mm", "z": "feet – head, mm"}
METRICS = {"r2": "R²", "accuracy": "accuracy"}
NAMES = {"log_fev1pp": "log FEV1pp", "log_fev1_fvc": "log FEV1/FVC", "gold": "GOLD stage"}
MARGIN_MM = 20.0


def draw(spec: FigureSpec, paths: Mapping[str, Any], settings: Mapping[str, Any]) -> Drawing:
    """Draw the importance of the landmarks for each of the figure's tasks.

    Parameters
    ----------
    spec : FigureSpec
        Of the kind landmark_importance.
    paths : mapping
        `features`, a run's features folder with ``landmarks.zarr``; `participants`, `folds`; `atlas`, the lung mask.
    settings : mapping
        `readout`, `seed`.
    """
    store = Store.open(Path(paths["features"]) / "landmarks.zarr")
    features, valid, points_mm = (store[name][:] for name in ("features", "valid", "landmarks_mm"))
    participants, folds = validate_participants(whole(paths["participants"])), read_folds(paths["folds"])
    ids = store.attribute("participant_ids")
    scores = pd.concat(
        [
            landmark_importance(
                task, participants, features, valid, ids, folds, readout=settings["readout"], seed=settings["seed"]
            )
            for task in spec.tasks
        ],
        ignore_index=True,
    )
    places = pd.DataFrame(points_mm, columns=[f"{axis}_mm" for axis in AXES])
    data = scores.merge(places, left_on="landmark", right_index=True)
    found = [task for task in spec.tasks if data.loc[data["task"] == task, "score"].notna().any()]
    without = [
        f"{NAMES.get(task, task)}: no landmark has a score, for too few subjects have the label."
        for task in spec.tasks
        if task not in found
    ]
    if not found:
        return empty_drawing(data, " ".join(without))
    notes = [
        f"{task}: n = {_range(rows['n'])} subjects at each of {len(rows)} landmarks, run {spec.run}."
        for task, rows in ((task, data[data["task"] == task]) for task in found)
    ]
    if "r2" in set(data["metric"]):
        notes.append("R² below 0, worse than the mean of all subjects, is drawn as 0.")
    notes.append("A dot is the mean of the landmarks that lie behind one another; larger dots are of more of them.")
    shown = data[data["task"].isin(found)]
    return Drawing(draw_importance(shown, sitk.ReadImage(str(paths["atlas"]))), data, [*notes, *without])


def draw_importance(data: pd.DataFrame, lung_mask: sitk.Image) -> Figure:
    """Return a row of three views of the lungs per task, seen from the front, the left and the feet.

    Parameters
    ----------
    data : DataFrame
        task, metric, score and x_mm, y_mm, z_mm (LPS) of each landmark. R² is drawn from 0: far below, it says no more.
    lung_mask : SimpleITK.Image
        The atlas; lung is not 0.
    """
    tasks = list(dict.fromkeys(data["task"]))
    edges_mm = {axis: _edges_mm(lung_mask, axis) for axis in AXES}
    lungs = sitk.GetArrayViewFromImage(lung_mask) > 0
    shown_mm = {axis: _shown_mm(lungs, axis, edges_mm[axis], data[f"{axis}_mm"]) for axis in AXES}
    figure = new_figure(11, 0.4 + 3.6 * len(tasks))
    grid = figure.subplots(len(tasks), len(VIEWS), squeeze=False)
    for task, panels in zip(tasks, grid.tolist(), strict=True):
        rows = data[data["task"] == task]
        if (metric := rows["metric"].iloc[0]) == "r2":
            rows = rows.assign(score=rows["score"].clip(lower=0.0))
        for (view, (across, up)), axes in zip(VIEWS.items(), panels, strict=True):
            extent_mm = (*edges_mm[across], *edges_mm[up])
            axes.imshow(_silhouette(lungs, across, up), extent=extent_mm, origin="lower", cmap="Greys", vmax=4)
            points = _dots(axes, rows.dropna(subset="score"), across, up)
            axes.set(xlabel=WORDS[across], ylabel=WORDS[up], title=f"{NAMES.get(task, task)}, {view}")
            axes.set(xlim=shown_mm[across], ylim=shown_mm[up][:: -1 if up == "y" else 1])
        label = f"cross-validated {METRICS.get(metric, metric)}"
        figure.colorbar(points, ax=panels, label=label, fraction=0.03, pad=0.01)
    return figure


def seen_together(rows: pd.DataFrame, across: str, up: str) -> pd.DataFrame:
    """Return the dots of one view: place in mm, mean score and count of the landmarks behind one another."""
    place = [rows[f"{axis}_mm"].round().rename(f"{axis}_mm") for axis in (across, up)]
    return rows.groupby(place)["score"].agg(["mean", "size"]).reset_index()


def _dots(axes: Axes, rows: pd.DataFrame, across: str, up: str) -> Any:
    dots = seen_together(rows, across, up)
    return axes.scatter(
        dots[f"{across}_mm"],
        dots[f"{up}_mm"],
        c=dots["mean"],
        s=30 + 25 * dots["size"],
        cmap=SEQUENTIAL,
        vmin=rows["score"].min(),
        vmax=rows["score"].max(),
        edgecolors="white",
        linewidths=0.8,
    )


def _silhouette(lungs: npt.NDArray[np.bool_], across: str, up: str) -> npt.NDArray[np.bool_]:
    """Return where lung is in sight; rows are `up`, columns `across`."""
    depth = next(axis for axis in AXES if axis not in (across, up))
    return np.asarray(lungs.any(axis=ARRAY_AXIS[depth]))


def _edges_mm(mask: sitk.Image, axis: str) -> tuple[float, float]:
    """Return where the volume begins and ends; it begins at the greater place where an axis runs backwards."""
    index = AXES.index(axis)
    step = mask.GetSpacing()[index] * mask.GetDirection()[4 * index]
    begin = mask.GetOrigin()[index] - step / 2
    return begin, begin + step * mask.GetSize()[index]


def _shown_mm(
    lungs: npt.NDArray[np.bool_], axis: str, edges_mm: tuple[float, float], points_mm: pd.Series
) -> tuple[float, float]:
    """Return the range that shows all lungs and landmarks, with a margin."""
    others = tuple(ARRAY_AXIS[other] for other in AXES if other != axis)
    inside = np.flatnonzero(lungs.any(axis=others))
    ends = np.array([inside.min(), inside.max() + 1]) / lungs.shape[ARRAY_AXIS[axis]]
    places = [*(edges_mm[0] + ends * (edges_mm[1] - edges_mm[0])), *points_mm]
    return min(places) - MARGIN_MM, max(places) + MARGIN_MM


def _range(counts: pd.Series) -> str:
    return f"{counts.min()}" if counts.nunique() == 1 else f"{counts.min()}-{counts.max()}"
