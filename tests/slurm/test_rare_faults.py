"""Faults that take minutes to be noticed, or to wait for: `make slurm-faults`."""

import csv

import pytest
from on_cluster import finished_stages, run_on, small_config
from unfinished import STAGES, bank_bytes, unfinished_copy
from workflow_run import changed

pytestmark = pytest.mark.slurm_faults

CONFIG = small_config()
SUBJECT_RULES = ("simulate_scan", "ingest_scan", "segment_lungs", "register_lungs", "cut_patches")


def test_a_subjects_job_over_its_memory_gets_more_by_the_next_attempt(cluster, local_run, tmp_path):
    unfinished_copy(local_run, tmp_path)
    tight = {f"set-resources.{rule}.mem_mb": "150 * attempt ** 4" for rule in SUBJECT_RULES}
    run_on(cluster, tmp_path, CONFIG, "preprocess", profile=tight, fails=True)
    (log,) = tmp_path.glob(".snakemake/slurm_logs/group_subject*/**/*.log")
    assert "exceeded memory limit" in log.read_text()
    finished = finished_stages(tmp_path)

    run_on(cluster, tmp_path, CONFIG, "preprocess", "--attempt", "2", profile=tight)
    assert finished.items() <= finished_stages(tmp_path).items()
    assert bank_bytes(tmp_path) == bank_bytes(local_run)


def test_an_ordinary_job_over_its_memory_is_tried_again_with_more(cluster, local_run, tmp_path):
    unfinished_copy(local_run, tmp_path)
    tight = {"set-resources.build_bank.mem_mb": "150 * attempt ** 4"}
    output = run_on(cluster, tmp_path, CONFIG, "preprocess", profile=tight)
    assert "Trying to restart" in output
    assert bank_bytes(tmp_path) == bank_bytes(local_run)


def test_a_job_over_its_time_is_tried_again(cluster, local_run, tmp_path):
    unfinished_copy(local_run, tmp_path)
    hang_once = "if [ ! -e hung ] && [ -e results/phantom/healthy/included.tsv ]; then touch hung; sleep 600; fi"
    profile = {"precommand": hang_once, "set-resources.build_bank.runtime": 1}
    (tmp_path / "results/phantom/healthy/included.tsv").unlink()
    output = run_on(cluster, tmp_path, CONFIG, "preprocess", profile=profile)
    assert "TIMEOUT" in output
    assert bank_bytes(tmp_path) == bank_bytes(local_run)


def clinic(folder, images, **exclude_reason):
    """Write a participants table; return the configuration of its cohort."""
    with (folder / "clinic.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["participant_id", "image", "exclude_reason"])
        writer.writerows([(name, image, exclude_reason.get(name, "")) for name, image in images.items()])
    changes = {
        "cohorts": {"clinic": {"participants": "clinic.csv"}},
        "roles": {"copd": "clinic"},
        "atlases": {"healthy": {"mask": str(folder / "atlas.nii.gz")}},
        "preprocess.max_excluded_fraction": 0.5,
        "pretrain.epochs": 0,  # nothing is trained: three subjects would be too few
    }
    return changed(CONFIG, changes)


def test_subjects_that_fail_every_time_are_excluded_with_their_reason_and_the_rest_finish(cluster, local_run, tmp_path):
    (tmp_path / "atlas.nii.gz").write_bytes((local_run / "results/atlases/healthy/lung_mask.nii.gz").read_bytes())
    scans = {f"good-{n}": local_run / f"{STAGES[0]}/phantom-00{n}/ct.nii.gz" for n in (1, 2)}
    (tmp_path / "torn.nii.gz").write_bytes(scans["good-1"].read_bytes()[:20_000])
    scans |= {"torn": "torn.nii.gz", "crash": scans["good-1"]}
    # A job that cannot write its log fails, as by a broken machine, in the midst of the others of its group.
    (tmp_path / "logs/clinic/healthy/register_lungs/crash.log/in the way").mkdir(parents=True)

    group = {"group-components": ["subject=4"]}
    run_on(cluster, tmp_path, clinic(tmp_path, scans), "preprocess", profile=group, fails=True)
    finished = finished_stages(tmp_path)
    patches = "results/clinic/healthy/patches"
    assert {f"{patches}/{name}" for name in scans} - finished.keys() == {f"{patches}/crash"}

    config = clinic(tmp_path, scans, crash="cannot be registered")
    (tmp_path / "logs/clinic/healthy/register_lungs/crash.log/in the way").rmdir()
    run_on(cluster, tmp_path, config, "preprocess", profile=group)
    again = {name for name, stat in finished_stages(tmp_path).items() if finished.get(name) != stat}
    assert {name.split("/")[-1] for name in again} == {"crash"}
    with (tmp_path / "results/clinic/healthy/exclusions.tsv").open() as file:
        reasons = {row["participant_id"]: row["reason"] for row in csv.DictReader(file, delimiter="\t")}
    assert reasons.keys() == {"torn", "crash"}
    assert reasons["crash"] == "cannot be registered"
    assert "torn.nii.gz" in reasons["torn"]
