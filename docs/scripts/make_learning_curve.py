"""Draw docs/images/learning_curve.png: what trainings tell at their end, and their skill and spread step by step.

RUNS=results/phantom/healthy/runs
python docs/scripts/make_learning_curve.py docs/results/learning_curves.jsonl $RUNS/drasclr $RUNS/drasclr/seed-1

The file is of benchmarks/learning.py and benchmarks/learning_curves.yaml, with --trained drasclr and its seeds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

PICTURE = Path(__file__).parents[1] / "images" / "learning_curve.png"
MEASURES = {"top1_fresh": "own key scored highest of the batch", "effective_rank": "effective rank of h"}
SMOOTHED_ROWS = 21  # of metrics.csv: landmarks differ more than neighbouring steps
BY_STEPS = ("untrained", "107 steps", "small", "drasclr")
BY_SUBJECTS = ("40 subjects", "80 subjects", "small")
LINES = {
    ("phantom", "pooled"): ("C0", "-", "pooled, seen"),
    ("unseen", "pooled"): ("C0", "--", "pooled, unseen"),
    ("phantom", "last"): ("C2", "-", "h, seen"),
    ("unseen", "last"): ("C2", "--", "h, unseen"),
}


def draw_training(axis: Axes, runs: list[Path], column: str) -> None:
    """Draw one measure of all trainings over their steps."""
    for run in runs:
        metrics = pd.read_csv(run / "model" / "metrics.csv")
        smooth = metrics[column].rolling(SMOOTHED_ROWS, center=True, min_periods=1).mean()
        axis.plot(metrics["step"], smooth, label=run.name)
    axis.set(xlabel="step", ylabel=MEASURES[column])


def draw_trials(axis: Axes, lines: list[dict[str, Any]], trials: tuple[str, ...], by: str) -> None:
    """Draw R2 of any emphysema over steps or subjects: the mean over seeds, and every training as a point."""
    lines = [line for line in lines if line["trial"].partition("/")[0] in trials]
    places = sorted({line[by] for line in lines})
    for (cohort, features), (colour, style, label) in LINES.items():
        points = [(line[by], line["r2"][cohort][features]["subjects"]["emphysema"]) for line in lines]
        means = [np.mean([value for at, value in points if at == place]) for place in places]
        axis.plot(places, means, style, color=colour, label=label)
        axis.plot(*zip(*points, strict=True), ".", color=colour, markersize=4)
    axis.set(xlabel=by, ylabel="R² of any emphysema", ylim=(0, 1))


def main() -> None:
    """Draw what trainings tell at their end, by their steps and subjects, then a panel for each measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    told = parser.parse_args()
    lines = [json.loads(line) for line in told.curves.read_text().splitlines()]
    figure, axes = plt.subplots(1, len(MEASURES) + 2, figsize=(15, 3.4), layout="constrained")
    draw_trials(axes[0], lines, BY_STEPS, "steps")
    draw_trials(axes[1], lines, BY_SUBJECTS, "subjects")
    for axis, column in zip(axes[2:], MEASURES, strict=True):
        draw_training(axis, told.runs, column)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, loc="lower right", fontsize="small")
    axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
