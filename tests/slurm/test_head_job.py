"""Snakemake as a batch job: killed or out of time, the next one cancels what it left, unlocks, and finishes."""

import os
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from on_cluster import PROFILE, QUICK, finished_stages, wait_for
from training import CONFIG, copy_untrained, freeze, log, training_jobs, trains, weights
from workflow_run import ROOT, changed, planned_jobs

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]

HEAD = ROOT / "profiles" / "slurm" / "head.sbatch"


@pytest.fixture
def folder(local_run, tmp_path):
    """A folder that looks like a checkout to the head job, with a profile that polls often."""
    folder = copy_untrained(local_run, tmp_path / "checkout")
    (folder / "slurm").mkdir()
    profile = changed(yaml.safe_load(PROFILE.read_text()), QUICK)
    (folder / "slurm" / "config.yaml").write_text(yaml.safe_dump(profile))
    (folder / "given.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return folder


def submit(cluster, folder):
    arguments = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "given.yaml", "--", "pretrain"]
    command = [
        "sbatch",
        "--parsable",
        f"--chdir={folder}",
        f"--export=ALL,PATH={_path(cluster)}",
        str(HEAD),
        *arguments,
    ]
    return int(cluster.run(*command))


def has_ended(cluster, job):
    return cluster.states()[job].state not in ("PENDING", "RUNNING", "COMPLETING")


def _path(cluster):
    """Return the search path of an activated environment."""
    return os.pathsep.join([str(Path(sys.executable).parent), cluster.environment["PATH"]])


def _snakemake_of_head(folder):
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and "--slurm-jobname-prefix" in process.cmdline():
                return process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    raise LookupError("no head job runs")


def test_the_next_head_job_takes_over_from_one_that_was_killed(cluster, folder, local_trainings):
    before, stages = cluster.states(), finished_stages(folder)
    first, second = submit(cluster, folder), submit(cluster, folder)
    wait_for(lambda: trains(folder))
    freeze(folder)
    assert cluster.states()[second].state == "PENDING"
    (orphan,) = training_jobs(cluster, before)

    _snakemake_of_head(folder).kill()
    wait_for(lambda: has_ended(cluster, second))
    output = (folder / "drasclr.log").read_text()
    states = cluster.states()
    assert states[second].state == "COMPLETED", output[-3000:]
    assert states[first].state == "FAILED"
    assert states[orphan].state == "CANCELLED"
    assert f"cancelling what the head job before this one left: {orphan}\n" in output
    assert "taking over from a head job that was killed" in output

    assert len(training_jobs(cluster, before)) == 2
    assert "resumed at step" in log(folder)
    assert weights(folder) == weights(local_trainings)
    assert finished_stages(folder) == stages
    assert planned_jobs(folder, CONFIG, "pretrain") == set()
    assert not list((folder / ".snakemake").glob("head-*"))


@pytest.mark.slurm_faults
def test_before_its_time_limit_a_head_job_goes_back_into_the_queue_and_goes_on(cluster, folder, local_trainings):
    before = cluster.states()
    head = submit(cluster, folder)
    wait_for(lambda: trains(folder))
    freeze(folder)
    (left,) = training_jobs(cluster, before)
    cluster.run("scancel", "--batch", "--signal=USR1", str(head))  # as its option --signal does
    wait_for(lambda: cluster.states()[head].state == "PENDING")
    cluster.run("scontrol", "update", f"JobId={head}", "StartTime=now")  # Slurm would let it wait for two minutes
    wait_for(lambda: has_ended(cluster, head))
    output = (folder / "drasclr.log").read_text()
    assert cluster.states()[head].state == "COMPLETED", output[-3000:]
    assert "into the queue again" in output
    assert [state.state for state in training_jobs(cluster, before).values()] == ["CANCELLED", "COMPLETED"]
    assert cluster.states()[left].state == "CANCELLED"
    assert "resumed at step" in log(folder)
    assert weights(folder) == weights(local_trainings)


@pytest.mark.slurm_faults
def test_a_cancelled_head_job_takes_its_jobs_along(cluster, folder):
    before = cluster.states()
    submit(cluster, folder)
    wait_for(lambda: trains(folder))
    (training,) = training_jobs(cluster, before)
    cluster.run("scancel", "--name=drasclr")
    wait_for(lambda: has_ended(cluster, training))
    assert cluster.states()[training].state == "CANCELLED"
    assert "stopped with a checkpoint" in log(folder)
