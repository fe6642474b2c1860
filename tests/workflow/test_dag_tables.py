"""What the ablations and the tables of tests make Snakemake train, and that each training is there once."""

import pytest
from workflow_run import FULL, changed, planned_jobs, snakemake, succeeded

CONFIG = changed(FULL, {"cohorts.phantom.phantom.subjects": 6, "pretrain.batch_size": 4, "evaluation.folds": 2})
TABLES = ("results/table4.csv", "results/table6.csv", "results/table8.csv", "results/table9.csv")
TRAINED = {
    *("drasclr", "local-none", "local-concatenation", "local-hypernetwork"),  # drasclr is local: it has no neighbours
    *("one-neighbour", "two-neighbours", "three-neighbours", "unhealthy-atlas", "patch-moco", "untrained"),
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    return planned_jobs(tmp_path_factory.mktemp("planned"), CONFIG, *TABLES)


def test_every_run_of_the_ablations_is_trained_once(jobs):
    assert {job.split()[1] for job in jobs if job.startswith("pretrain_encoder")} == TRAINED


def test_the_tests_need_no_training_of_their_own(jobs, tmp_path):
    tests = [f"results/tableA{number}.csv" for number in (5, 6, 7)]
    table2 = planned_jobs(tmp_path / "table2", CONFIG, "results/table2.csv")
    with_tests = planned_jobs(tmp_path / "tests", CONFIG, *tests)
    evaluations = {job for job in jobs | table2 if job.startswith("evaluate_run")}
    assert {job for job in with_tests if job.startswith("evaluate_run")} <= evaluations
    assert "make_significance" in with_tests


def test_the_target_tables_makes_the_tests_of_those_tables_it_makes(tmp_path):
    plan = succeeded(snakemake(tmp_path, CONFIG, "--dry-run", "tables"))
    for name in ("table2", "table4", "table6", "table8", "table9", "tableA5", "tableA6", "tableA7"):
        assert f"results/{name}.csv" in plan
    without = changed(CONFIG, {"runs.unhealthy-atlas": None})
    plan = succeeded(snakemake(tmp_path, without, "--dry-run", "tables"))
    assert "results/table9.csv" not in plan
    assert "results/tableA6.csv" not in plan
    assert "results/tableA5.csv" in plan
