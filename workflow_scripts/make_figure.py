"""Draw a figure, and write down what it shows."""

from _job import EXPERIMENTS, run

from drasclr_core.config.figure_specs import load_figure
from drasclr_core.figures.drawing import make_figure


def main(job):
    spec = load_figure(EXPERIMENTS / f"{job.wildcards.figure}.yaml")
    make_figure(spec, vars(job.input), job.params.settings, job.output.png, job.output.csv)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
