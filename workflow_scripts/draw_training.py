"""Draw the curves of one training."""

from pathlib import Path

from _job import run

from drasclr_core.figures.drawing import write_figure
from drasclr_core.figures.training import draw_training, read_metrics, training_curves


def main(job):
    curves = training_curves(read_metrics(Path(job.input.model).with_name("metrics.csv")))
    write_figure(draw_training(curves), curves, job.output.png, job.output.csv)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
