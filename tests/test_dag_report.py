"""What the report and the figures need of a configuration."""

import pytest
from workflow_run import DEFAULT, changed, planned_jobs, snakemake, succeeded


def small(changes=None):
    return changed(DEFAULT, {"cohorts.phantom.phantom.subjects": 32, **(changes or {})})


def figures(folder, config):
    plan = succeeded(snakemake(folder, config, "--dry-run", "figures"))
    outputs = [line.split() for line in plan.splitlines() if line.strip().startswith("output: results/figure")]
    return {fields[1].removeprefix("results/").removesuffix(".png,") for fields in outputs}


def test_the_default_configuration_has_every_figure_and_a_page(tmp_path):
    assert figures(tmp_path, small()) == {
        "figure3",
        "figure4",
        "figure5",
        "figure_embedding",
        "figure_embedding_covid",
        "figure_importance",
        "figure_survival",
    }
    jobs = planned_jobs(tmp_path, small(), "report")
    assert {"make_report", "make_figure", "make_table", "draw_training drasclr"} <= jobs
    assert "draw_training untrained" not in jobs  # it has no curve


def test_figures_of_a_role_that_nobody_plays_are_left_out(tmp_path):
    assert figures(tmp_path, small({"roles": {"covid": "phantom"}})) == {"figure_embedding_covid"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"roles": {"covid": "phantom"}}, "experiments/figure4.yaml needs a cohort in roles.copd"),
        ({"runs.drasclr": None}, "experiments/figure4.yaml needs runs.drasclr"),
    ],
)
def test_a_figure_says_what_it_lacks(tmp_path, changes, message):
    process = snakemake(tmp_path, small(changes), "--dry-run", "results/figure4.png")
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
