"""Draw a figure, and write down what it shows."""

from _job import run

from drasclr_core.figure_specs import load_figure
from drasclr_core.figures import make_figure


def main(job):
    spec = load_figure(job.input.experiment)
    make_figure(spec, vars(job.input), job.params.settings, job.output.png, job.output.csv)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
