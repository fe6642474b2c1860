"""Survival by tertile of predicted risk, and predicted beside observed survival."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drasclr_core.base.files import read_json
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.evaluate.pooled import FEW_PEOPLE
from drasclr_core.figures.drawing import COLOURS, GREY, Drawing, empty_drawing, new_figure, plain_axes

DAYS_PER_YEAR = 365.25
_COLUMNS = ["panel", "group", "n", "deaths", "time_days", "at_risk", "predicted", "observed", "low", "high"]
NAMES = {1: "low", 2: "middle", 3: "high"}


def draw(spec: FigureSpec, paths: Mapping[str, Any], settings: Mapping[str, Any]) -> Drawing:
    """Draw the risk groups and the calibration of a survival evaluation.

    Parameters
    ----------
    spec : FigureSpec
        Of the kind survival.
    paths : mapping
        `survival`, the evaluation.
    settings : mapping
        Not used.
    """
    found = read_json(paths["survival"])
    groups, calibration = found["risk_groups"], found["calibration"]
    if found["reason"]:
        reason = f"n = {found['n']}; nothing to draw of {spec.run}: {found['reason']}."
        return empty_drawing(pd.DataFrame(columns=_COLUMNS), reason)
    notes = [
        f"n = {found['n']} subjects, {found['deaths']} deaths; run {spec.run}, {spec.variant}. Risks are out of fold; "
        f"groups are tertiles of the risk. Log-rank test: {_log_rank(groups)}.",
        "Calibration: mean predicted survival by group of predicted risk, and Kaplan-Meier's with its 95 % interval "
        f"(Greenwood), at {calibration['horizon_days']:.0f} days.",
    ]
    return Drawing(draw_survival(groups, calibration), survival_data(groups, calibration), notes)


def survival_data(groups: Mapping[str, Any], calibration: Mapping[str, Any]) -> pd.DataFrame:
    """Return what is shown: a row per step of a Kaplan-Meier curve, a row per group of the calibration.

    Parameters
    ----------
    groups, calibration : dict
        `risk_groups` and `calibration` of an evaluation, as of `drasclr_core.evaluate.survival_groups`.
    """
    steps = [
        {
            "panel": "kaplan_meier",
            "group": group["group"],
            "n": group["n"],
            "deaths": group["deaths"],
            "time_days": time_days,
            "at_risk": at_risk,
            "observed": survival,
        }
        for group in groups["groups"]
        for time_days, survival, at_risk in zip(group["time_days"], group["survival"], group["at_risk"], strict=True)
    ]
    points = [
        {"panel": "calibration", "time_days": calibration["horizon_days"], **group} for group in calibration["groups"]
    ]
    return pd.DataFrame([*steps, *points], columns=_COLUMNS)


def draw_survival(groups: Mapping[str, Any], calibration: Mapping[str, Any]) -> Figure:
    """Return two panels: Kaplan-Meier curves of the risk groups, and the calibration."""
    figure = new_figure(9.5, 4.2)
    curves, points = figure.subplots(1, 2, width_ratios=[1.35, 1])
    _draw_curves(curves, groups)
    _draw_calibration(points, calibration)
    return figure


def _draw_curves(axes: Axes, groups: Mapping[str, Any]) -> None:
    for colour, group in zip(COLOURS, groups["groups"], strict=False):
        years = [0.0, *(time_days / DAYS_PER_YEAR for time_days in group["time_days"])]
        label = f"{NAMES.get(group['group'], group['group'])} risk (n={group['n']}, {group['deaths']} deaths)"
        axes.step(years, [1.0, *group["survival"]], where="post", color=colour, linewidth=1.8, label=label)
    axes.set(xlabel="years since the scan", ylabel="share alive (Kaplan-Meier)", ylim=(0, 1.02), xlim=(0, None))
    axes.set_title(f"by tertile of risk, log-rank {_log_rank(groups)}", fontsize="medium")
    axes.legend(frameon=False, loc="lower left", fontsize="small")
    plain_axes(axes)


def _draw_calibration(axes: Axes, calibration: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    for group in calibration["groups"]:
        if group["observed"] is None:
            continue
        if group["low"] is not None:
            axes.plot([group["predicted"]] * 2, [group["low"], group["high"]], color=COLOURS[0], linewidth=1.2)
        axes.plot(group["predicted"], group["observed"], "o", color=COLOURS[0], markersize=6)
    years = calibration["horizon_days"] / DAYS_PER_YEAR
    axes.set(xlabel=f"predicted survival at {years:.1f} years", ylabel="observed (Kaplan-Meier, 95 % interval)")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    axes.set_title("calibration", fontsize="medium")
    plain_axes(axes)


def _log_rank(groups: Mapping[str, Any]) -> str:
    test = groups["log_rank"]
    if test is None:
        return "not defined"
    if sum(group["n"] for group in groups["groups"]) < FEW_PEOPLE:
        return f"p is not given of fewer than {FEW_PEOPLE}"
    return "p < 0.001" if test["p"] < 0.001 else f"p = {test['p']:.3f}"
