"""Dense emphysema masks by GOLD stage: coronal slices, and the lungs seen from the front (Figure 3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy import ndimage

from drasclr_core.base.files import CT, LUNGS, read_json, read_record
from drasclr_core.cohort.boxes import SUBTYPES
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.detect.masks import figure_subjects, read_probability, true_labels
from drasclr_core.figures.drawing import GREY, Drawing, empty_drawing, new_figure
from drasclr_core.phantom.labels import DISEASES
from drasclr_core.scan.images import read_image, to_canonical

COLUMNS = ["subtype", "gold", "participant_id", "slice_y_mm", "fraction"]
WINDOW_HU = (-1000, -400)
HALF = 0.5
ORANGE, BLUE = (np.array(to_rgb(colour)) for colour in ("#E69F00", "#0072B2"))
TRUE = "#56B4E9"
LETTERS_PT = 9
SCALE_MM = 50.0
TURN_DEG = 20.0
DARKEST = 0.5  # of a surface seen from its side
LONGEST_EDGE = 160
"""Voxels along the longest edge of a volume that is seen from the front: more make no better picture."""

Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.float64]


def draw(spec: FigureSpec, paths: Mapping[str, Any], settings: Mapping[str, Any]) -> Drawing:
    """Draw one subject of each GOLD stage, chosen at random among those with masks.

    Parameters
    ----------
    spec : FigureSpec
        Of the kind dense_masks.
    paths : mapping
        `masks`, the summary of the dense masks; `dense`, `ingest` and `segment`, its subjects' folders; `phantom`, of
        phantoms, whose true disease is outlined.
    settings : mapping
        `seed`, of the choice.
    """
    folders = {name: {Path(path).name: Path(path) for path in paths[name]} for name in paths if name != "masks"}
    masks = read_json(paths["masks"])
    chosen = _chosen(masks["subjects"], settings["seed"])
    if not chosen:
        reason = f"n = 0: no subject with a GOLD stage has masks of the run {spec.run}."
        return empty_drawing(pd.DataFrame(columns=COLUMNS), " ".join([reason, *masks["notes"]]))
    shown: dict[int, dict[str, Any]] = {}
    rows: list[tuple[Any, ...]] = []
    for stage, name in chosen.items():
        volumes = _read_subject(**{of_stage: those[name] for of_stage, those in folders.items()})
        volumes["n"] = sum(subject["gold"] == stage for subject in masks["subjects"] if _masked(subject))
        lung_voxels = volumes["lungs"].sum()
        found = volumes["positive"].items()
        rows += [(s, stage, name, volumes["slice_y_mm"], mask.sum() / lung_voxels) for s, mask in found]
        shown[stage] = volumes
    data = pd.DataFrame(rows, columns=COLUMNS)
    names = ", ".join(f"GOLD {stage} {name}" for stage, name in chosen.items())
    outlined = "outlined in light blue: the phantom's true disease; " if "phantom" in folders else ""
    notes = [
        f"n = {len(chosen)} subjects, drawn at random, one of each GOLD stage ({names}); run {spec.run}. Each one's "
        f"coronal slice with most lung, window {WINDOW_HU[0]} to {WINDOW_HU[1]} HU; below, the lungs in three "
        f"dimensions from the front, turned by {TURN_DEG:g}°; the patient's right is on the left. Orange: p of one "
        f"half or more; {outlined}blue in three dimensions: other lung.",
        *masks["notes"],
    ]
    return Drawing(draw_masks(shown), data, notes)


def _chosen(subjects: Sequence[Mapping[str, Any]], seed: int) -> dict[int, str]:
    """Return GOLD stage -> who is shown: one with masks of both subtypes, or of one where no other is to be had."""
    chosen: dict[int, str] = {}
    for least in (1, len(SUBTYPES)):
        gold = {
            subject["participant_id"]: subject["gold"]
            for subject in subjects
            if subject["gold"] is not None and len(_masked(subject)) >= least
        }
        chosen |= figure_subjects(gold, seed)
    return dict(sorted(chosen.items()))


def _masked(subject: Mapping[str, Any]) -> list[str]:
    """Return the subtypes of which a subject has a mask."""
    return [subtype for subtype in SUBTYPES if "fraction" in subject[subtype]]


def _read_subject(ingest: Path, segment: Path, dense: Path, phantom: Path | None = None) -> dict[str, Any]:
    """Return what `draw_masks` takes of a subject, and where the slice is.

    Whatever axes the volumes have, here they run to the left, to the back and up.
    """
    ct = to_canonical(read_image(ingest / CT))
    lungs = sitk.GetArrayFromImage(to_canonical(read_image(segment / LUNGS))) > 0
    masked = [subtype for subtype in SUBTYPES if "fraction" in read_record(dense).metrics[subtype]]
    found = {subtype: sitk.GetArrayFromImage(to_canonical(read_probability(dense, subtype))) for subtype in masked}
    truth = None if phantom is None else true_labels(phantom / "truth.nii.gz", ct)
    return {
        "spacing_mm": ct.GetSpacing()[0],
        "true": {} if truth is None else {name: truth == 1 + DISEASES.index(name) for name in SUBTYPES},
        "ct_hu": sitk.GetArrayFromImage(ct),
        "lungs": lungs,
        "positive": {subtype: (probability >= HALF) & lungs for subtype, probability in found.items()},
        "slice_y_mm": ct.TransformIndexToPhysicalPoint((0, fullest_slice(lungs), 0))[1],
    }


def fullest_slice(lungs: Mask) -> int:
    """Return the index of the coronal slice, of a mask (z, y, x), that holds most lung."""
    return int(lungs.sum(axis=(0, 2)).argmax())


def overlay(ct_hu: npt.NDArray[Any], positive: Mask) -> Picture:
    """Return a slice (Z, X) in colour, (Z, X, 3) of 0..1: grey by the window, orange where positive."""
    low, high = WINDOW_HU
    grey = np.clip((ct_hu - low) / (high - low), 0, 1)[..., None] * np.ones(3)
    return np.where(positive[..., None], 0.5 * grey + 0.5 * ORANGE, grey)


def seen_from_front(lungs: Mask, positive: Mask) -> Picture:
    """Return the lungs, blue and clear, with what is positive in them, orange: (Z, X, 3) of 0..1 on white.

    Parallel rays run from front to back through masks (z, y, x; x to the patient's left, y to the back, z up); a
    surface is lit from the viewer's place. The patient's right is on the left of the picture.
    """
    box = ndimage.find_objects(lungs.astype(np.int8))[0]
    step = max(1, -(-max(lungs[box].shape) // LONGEST_EDGE))
    picture = np.ones((1, 1, 3))
    for mask, colour, opacity in ((lungs, BLUE, 0.4), (positive, ORANGE, 0.85)):
        turned = ndimage.rotate(mask[box][::step, ::step, ::step].astype(np.float32), TURN_DEG, (1, 2), order=1) > 0.5
        shade, hit = _shade(turned)
        lit = colour * shade[..., None] + 0.25 * (shade[..., None] ** 8)
        weight = opacity * hit[..., None]
        picture = (1 - weight) * picture + weight * np.clip(lit, 0, 1)
    return picture


def draw_masks(shown: Mapping[int, Mapping[str, Any]]) -> Figure:
    """Return three rows per subtype (slice, slice with masks, three dimensions), one column per GOLD stage.

    Parameters
    ----------
    shown : mapping
        GOLD stage -> ``ct_hu`` and ``lungs``, volumes as for `seen_from_front`, ``spacing_mm``, ``n`` subjects of the
        stage, ``positive``, subtype -> mask, and ``true``, the same where known; of a subtype without a mask only the
        slice is shown.
    """
    figure = new_figure(0.6 + 1.35 * len(shown), 9.2)
    grid = figure.subplots(3 * len(SUBTYPES), len(shown), squeeze=False)
    for column, (stage, volumes) in enumerate(shown.items()):
        for place, subtype in enumerate(SUBTYPES):
            _draw_subtype(grid[3 * place : 3 * place + 3, column].tolist(), volumes, subtype)
        grid[0, column].set_title(f"GOLD {stage}\n1 of {volumes['n']}", fontsize=LETTERS_PT + 1)
    for place, name in enumerate(f"{subtype}\n{row}" for subtype in SUBTYPES for row in ("CT", "mask", "3D")):
        grid[place, 0].set_ylabel(name, fontsize=LETTERS_PT)
        for x, side in ((0.03, "R"), (0.97, "L")):
            _write(grid[place, 0], x, side)
    for axes in grid.ravel():
        _bare(axes)
    return figure


def _draw_subtype(panels: Sequence[Axes], volumes: Mapping[str, Any], subtype: str) -> None:
    row = fullest_slice(volumes["lungs"])
    ct_hu = volumes["ct_hu"][:, row]
    panels[0].imshow(ct_hu, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower")
    length = SCALE_MM / volumes["spacing_mm"]
    panels[0].plot([0, length], [-0.06 * len(ct_hu)] * 2, color="black", linewidth=2)
    panels[0].text(1.2 * length, -0.06 * len(ct_hu), "5 cm", va="center", fontsize=LETTERS_PT)
    panels[0].set_ylim(-0.12 * len(ct_hu), len(ct_hu) - 0.5)
    if subtype not in volumes["positive"]:
        panels[1].text(0.5, 0.5, "no mask", ha="center", va="center", color=GREY)
        return
    mask = volumes["positive"][subtype]
    panels[1].imshow(overlay(ct_hu, mask[:, row]), origin="lower")
    if subtype in volumes["true"] and volumes["true"][subtype][:, row].any():
        panels[1].contour(volumes["true"][subtype][:, row], [0.5], colors=TRUE, linewidths=0.8)
    panels[2].imshow(seen_from_front(volumes["lungs"], mask), origin="lower")


def _write(axes: Axes, x: float, side: str) -> None:
    box = {"facecolor": "black", "pad": 1, "linewidth": 0}
    axes.text(x, 0.5, side, transform=axes.transAxes, color="white", ha="center", fontsize=LETTERS_PT, bbox=box)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _shade(mask: Mask) -> tuple[Picture, Mask]:
    """Return how brightly each ray's first surface is lit, 0..1, and whether the ray meets one."""
    hit: Mask = np.asarray(mask.any(axis=1))
    depth = np.where(hit, mask.argmax(axis=1), mask.shape[1]).astype(np.float64)
    slope_z, slope_x = np.gradient(ndimage.gaussian_filter(depth, 1.0))
    lit = 1 / np.sqrt(1 + 0.15 * (slope_z**2 + slope_x**2))
    return np.maximum(lit, DARKEST), hit
