"""What the disease probe asks of the workflow, and what it says where it cannot be had."""

import re

import pytest
from workflow_run import changed, planned_jobs, snakemake, succeeded, tiny_config

PAGE, TABLE = "results/disease_probe.md", "results/known_truth.csv"


SEEN = [f"phantom-00{number}" for number in range(1, 7)]
UNSEEN = [f"phantom-20{number}" for number in range(1, 5)]
RUNS = ("patch-moco", "untrained", "drasclr")


def test_the_probe_measures_every_phantom_and_compares_the_trained_runs(tmp_path):
    jobs = planned_jobs(tmp_path, changed(tiny_config(), {"roles.unseen": None}), PAGE)
    assert {job for job in jobs if "disease" in job} == {
        *(f"measure_disease {name}" for name in SEEN),
        "probe_disease",
        "report_disease",
    }
    assert {job for job in jobs if "embed" in job} == {f"embed_bank {run}" for run in RUNS}


def test_unseen_phantoms_are_embedded_by_the_encoders_of_the_seen_and_train_none(tmp_path):
    plan = succeeded(snakemake(tmp_path, tiny_config(), "--dry-run", TABLE))
    assert len(re.findall(r"^rule measure_disease:", plan, re.M)) == len(SEEN) + len(UNSEEN)
    assert set(re.findall(r" output: (\S+/model/SHA256SUMS)$", plan, re.M)) == {
        f"results/phantom/healthy/runs/{run}/model/SHA256SUMS" for run in RUNS
    }
    embedded = dict(re.findall(r"^rule embed_bank:\n +input: (.*)\n +output: (\S+)$", plan, re.M))
    models = {output: re.search(r"(\S+/model/SHA256SUMS)\b", given)[1] for given, output in embedded.items()}
    assert models == {
        f"results/{cohort}/healthy/runs/{run}/features": f"results/phantom/healthy/runs/{run}/model/SHA256SUMS"
        for cohort in ("phantom", "unseen")
        for run in RUNS
    }
    assert "results/unseen/healthy/register/phantom-204" in plan
    assert "evaluate_run" not in plan  # the table needs no label


def test_nothing_else_asks_for_the_unseen(tmp_path):
    targets = ("all", "preprocess", "qc", "pretrain", "embed", "tables", "figures", "report")
    assert "unseen" not in succeeded(snakemake(tmp_path, tiny_config(), "--dry-run", *targets))


def test_each_seed_is_probed_beside_the_untrained_of_its_seed(tmp_path):
    seeds = {"runs.drasclr.seeds": [0, 3], "runs.untrained.seeds": [3, 0], "roles.unseen": None}
    jobs = planned_jobs(tmp_path, changed(tiny_config(), seeds), TABLE)
    names = {"patch-moco", "untrained", "untrained/seed-0", "drasclr", "drasclr/seed-3"}
    assert {job for job in jobs if job.startswith("embed_bank")} == {f"embed_bank {name}" for name in names}
    # The untrained of the primary run's first seed is its second: that is whose labels the page compares.
    page = planned_jobs(tmp_path, changed(tiny_config(), seeds), PAGE)
    evaluated = {job.split()[1] for job in page if job.startswith("evaluate_run")}
    assert evaluated == {"drasclr", "untrained/seed-0"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohorts.clinic": {"participants": "clinic.tsv"}, "roles": {"copd": "clinic"}}, "a phantom in roles.copd"),
        ({"runs.drasclr.seeds": [0, 1]}, "runs.untrained.seeds lacks 1, a seed of runs.drasclr"),
        ({"runs.untrained": None}, "needs runs.drasclr and runs.untrained"),
        ({"runs.untrained": {"method": "kmeans", "atlas": "healthy"}}, "both of the method drasclr"),
    ],
)
def test_the_probe_says_what_it_lacks(tmp_path, changes, message):
    rows = [f"a{number}\ta{number}.nii.gz" for number in range(6)]
    (tmp_path / "clinic.tsv").write_text("\n".join(["participant_id\timage", *rows, ""]), encoding="utf-8")
    process = snakemake(tmp_path, changed(tiny_config(), changes), "--dry-run", TABLE)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
