"""What the emphysema detectors find, by GOLD stage (Figure 4) and by share of the annotations (Figure 5)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drasclr_core.base.files import read_json
from drasclr_core.cohort.boxes import SUBTYPES
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.figures.drawing import COLOURS, GREY, Drawing, empty_drawing, new_figure, plain_axes

STAGES = {-1: "PRISm", 0: "0", 1: "1", 2: "2", 3: "3", 4: "4"}
STARTS = {"pretrained": "fine-tuned from DrasCLR", "scratch": "from scratch"}
FEW = 10
"""At most so many subjects of a stage are points and their median: a box of four would be of its own quartiles."""


def draw(spec: FigureSpec, paths: Mapping[str, Any], settings: Mapping[str, Any]) -> Drawing:
    """Draw the fraction of emphysema by GOLD stage, or F1 by share of annotations, as the figure's kind says.

    Parameters
    ----------
    spec : FigureSpec
        Of the kind emphysema_fraction or annotation_efficiency.
    paths : mapping
        `masks`, the summary of the dense masks, and `linear`, the figures of linear detectors' masks, if there are; or
        `transfer`, the two subtypes' curves.
    settings : mapping
        Not used.
    """
    if spec.figure == "emphysema_fraction":
        masks = read_json(paths["masks"])
        fractions = emphysema_fractions(masks)
        if fractions.empty:
            reason = f"n = 0: no subject with a GOLD stage has masks of {spec.run}."
            return empty_drawing(fractions, " ".join([reason, *masks["notes"]]))
        notes = [*_fraction_notes(spec, masks, fractions), *_linear_notes(list(map(read_json, paths["linear"])))]
        return Drawing(draw_fractions(fractions), fractions, notes)
    curves = [read_json(path) for path in paths["transfer"]]
    points = transfer_points(curves)
    counts = ", ".join(f"{curve['subtype']} {curve['n']}" for curve in curves)
    notes = [
        f"n patches: {counts}; run {spec.run}, {curves[0]['fold_count']} folds by subject. "
        "Bars: the folds' sample s.d.; dashed, where measured: from scratch with all annotations.",
        *(f"{curve['subtype']}: {curve['reason']}." for curve in curves if curve["reason"]),
    ]
    if points["f1"].isna().all():
        return empty_drawing(points.iloc[:0], " ".join(notes))
    return Drawing(draw_transfer(points), points, notes)


def emphysema_fractions(masks: Mapping[str, Any]) -> pd.DataFrame:
    """Return participant_id, gold, subtype and fraction (of lung voxels, 0..1), of subjects with a GOLD stage.

    A subject without a mask of a subtype has no row of it.

    Parameters
    ----------
    masks : dict
        As of `drasclr_core.detect.masks.summarise_masks`.
    """
    rows = [
        (subject["participant_id"], int(subject["gold"]), subtype, subject[subtype]["fraction"])
        for subtype in SUBTYPES
        for subject in masks["subjects"]
        if subject["gold"] is not None and "fraction" in subject[subtype]
    ]
    return pd.DataFrame(rows, columns=["participant_id", "gold", "subtype", "fraction"])


def draw_fractions(fractions: pd.DataFrame) -> Figure:
    """Return one panel per subtype, on one axis: a box per GOLD stage or, of `FEW` subjects, these as points.

    Whiskers reach 1.5 interquartile ranges.
    """
    figure = new_figure(9.5, 4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, subtype, colour in zip(panels, SUBTYPES, COLOURS, strict=False):
        rows = fractions[fractions["subtype"] == subtype]
        percents = {stage: 100 * rows.loc[rows["gold"] == stage, "fraction"] for stage in STAGES}
        _draw_boxes(axes, percents, colour)
        axes.set(title=subtype, xlabel="GOLD stage", ylabel="lung with p of one half or more, %")
        axes.yaxis.set_tick_params(labelleft=True)
    panels[0].set_ylim(bottom=0)  # when all is drawn: it ends the search for the shared upper limit
    return figure


def transfer_points(curves: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return subtype, start, fraction (0..1), f1, f1_sd and n patches, a row per point.

    Parameters
    ----------
    curves : sequence of dict
        As of `drasclr_core.detect.finetuned.evaluate_transfer`.
    """
    rows = [
        {
            "subtype": curve["subtype"],
            "start": point["start"],
            "fraction": point["fraction"],
            "f1": point["summary"]["f1"]["mean"],
            "f1_sd": point["summary"]["f1"]["sd"],
            "n": curve["n"],
        }
        for curve in curves
        for point in curve["points"]
    ]
    return pd.DataFrame(rows).astype({"f1": float, "f1_sd": float})


def draw_transfer(points: pd.DataFrame) -> Figure:
    """Return one panel per subtype: F1 by share of the annotations, fine-tuned and from scratch."""
    figure = new_figure(9.5, 4)
    for axes, subtype in zip(figure.subplots(1, 2), SUBTYPES, strict=True):
        for (start, label), colour, marker in zip(STARTS.items(), COLOURS, "os", strict=False):
            rows = points[(points["subtype"] == subtype) & (points["start"] == start)].sort_values("fraction")
            axes.errorbar(
                100 * rows["fraction"], rows["f1"], rows["f1_sd"], color=colour, marker=marker, capsize=3, label=label
            )
            if start == "scratch" and rows["fraction"].eq(1).any():
                axes.axhline(rows["f1"].iloc[-1], color=colour, linestyle="--", linewidth=1)
        axes.set(title=subtype, xlabel="annotations used, %", ylabel="F1", xlim=(0, 104))
        axes.legend(frameon=False, loc="lower right", fontsize="small")
        plain_axes(axes)
    return figure


def _draw_boxes(axes: Axes, percents: Mapping[int, pd.Series], colour: str) -> None:
    for place, values in enumerate(percents.values()):
        if len(values) > FEW:
            (box,) = axes.boxplot(
                [values.to_numpy()],
                positions=[place],
                widths=0.6,
                patch_artist=True,
                medianprops={"color": "black"},
                flierprops={"markersize": 3, "markeredgecolor": GREY},
            )["boxes"]
            box.set(facecolor=colour, alpha=0.45)
        elif len(values):
            beside = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else [0.0]
            axes.plot(place + np.array(beside), sorted(values), "o", color=colour, markersize=5, alpha=0.8)
            axes.plot([place - 0.25, place + 0.25], [values.median()] * 2, color="black", linewidth=1.2)
    axes.set_xticks(range(len(percents)), [f"{STAGES[stage]}\nn={len(values)}" for stage, values in percents.items()])
    axes.set_xlim(-0.6, len(percents) - 0.4)
    plain_axes(axes)


def _fraction_notes(spec: FigureSpec, masks: Mapping[str, Any], fractions: pd.DataFrame) -> list[str]:
    subjects = fractions["participant_id"].nunique()
    notes = [
        f"n = {subjects} subjects with a GOLD stage, run {spec.run}; PRISm is no step of the scale. Lines are medians; "
        f"a stage of at most {FEW} subjects shows each of them, another one a box.",
        *masks["notes"],
    ]
    for subtype, pooled in masks["pooled"].items():
        if pooled and pooled["auroc"] is not None:
            dice = "–" if pooled["mean_dice"] is None else f"{pooled['mean_dice']:.2f}"
            notes.append(
                f"{subtype}, against the phantoms' true masks: AUROC over all lung voxels {pooled['auroc']:.3f}; mean "
                f"Dice {dice} over {pooled['n_dice']} subjects."
            )
    return notes


def _linear_notes(linear: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how right the masks are of detectors that learn nothing before the boxes."""
    for subtype in SUBTYPES:
        found = [(each["run"], each["pooled"][subtype]) for each in linear]
        aurocs = [f"{run} {pooled['auroc']:.3f}" for run, pooled in found if pooled and pooled["auroc"] is not None]
        if aurocs:
            yield (
                f"{subtype}, for comparison: AUROC of logistic regressions on the same boxes that learnt nothing "
                f"before: {', '.join(aurocs)} (no-image: the location alone)."
            )
