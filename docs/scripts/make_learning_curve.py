"""Draw docs/images/learning_curve.png from the metrics of finished trainings.

python docs/scripts/make_learning_curve.py results/phantom/healthy/runs/drasclr results/phantom/healthy/runs/patch-moco
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

PICTURE = Path(__file__).parents[1] / "images" / "learning_curve.png"
PANELS = {
    "loss_local_relative": "local loss / log(K + 1)",
    "top1_accuracy": "positive scored highest",
}
SMOOTHED_ROWS = 21  # of metrics.csv: landmarks differ more than neighbouring steps


def main() -> None:
    """Draw one panel per measure, one line per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    runs = parser.parse_args().runs
    figure, axes = plt.subplots(1, len(PANELS), figsize=(9, 3), layout="constrained")
    for axis, (column, label) in zip(axes, PANELS.items(), strict=True):
        for run in runs:
            metrics = pd.read_csv(run / "model" / "metrics.csv")
            smooth = metrics[column].rolling(SMOOTHED_ROWS, center=True, min_periods=1).mean()
            axis.plot(metrics["step"], smooth, label=run.name)
        axis.set(xlabel="step", ylabel=label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
