"""What the disease probe asks of the workflow, and what it says where it cannot be had."""

import pytest
from workflow_run import changed, planned_jobs, snakemake, tiny_config

PAGE = "results/disease_probe.md"


def test_the_probe_measures_every_phantom_and_compares_the_trained_runs(tmp_path):
    jobs = planned_jobs(tmp_path, tiny_config(), PAGE)
    assert {job for job in jobs if "disease" in job} == {
        *(f"measure_disease phantom-00{number}" for number in range(1, 7)),
        "probe_disease",
        "report_disease",
    }
    assert {job for job in jobs if "embed" in job} == {
        f"embed_bank {run}" for run in ("patch-moco", "untrained", "drasclr")
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohorts.clinic": {"participants": "clinic.tsv"}, "roles.copd": "clinic"}, "a phantom in roles.copd"),
        ({"runs.untrained": None}, "needs runs.drasclr and runs.untrained"),
        ({"runs.untrained.method": "kmeans", "runs.untrained.params": {}}, "both of the method drasclr"),
    ],
)
def test_the_probe_says_what_it_lacks(tmp_path, changes, message):
    rows = [f"a{number}\ta{number}.nii.gz" for number in range(6)]
    (tmp_path / "clinic.tsv").write_text("\n".join(["participant_id\timage", *rows, ""]), encoding="utf-8")
    process = snakemake(tmp_path, changed(tiny_config(), changes), "--dry-run", PAGE)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
