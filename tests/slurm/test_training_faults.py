"""Trainings on a Slurm cluster that are broken off: each ends as if nothing had happened."""

import time

import pytest
from on_cluster import ended, finished_stages, run_on, snakemake_on, wait_for
from training import CONFIG, copy_untrained, freeze, log, target, thaw, training_jobs, trains, weights
from workflow_run import changed, planned_jobs, snakemake, succeeded

pytestmark = [pytest.mark.slurm_faults, pytest.mark.workflow]


@pytest.fixture
def undisturbed(local_trainings):
    """The encoder of the same training on one computer."""
    return weights(local_trainings)


@pytest.fixture
def folder(local_run, tmp_path):
    return copy_untrained(local_run, tmp_path / "folder")


def states_of(jobs):
    return [state.state for state in jobs.values()]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_killed_node(folder, cluster, undisturbed, nodes):
    before = cluster.states()
    with snakemake_on(cluster, folder, changed(CONFIG, {"pretrain.nodes": nodes}), "pretrain") as process:
        wait_for(lambda: trains(folder), process)
        ((job, state),) = training_jobs(cluster, before).items()
        killed = "g2" if nodes == 2 else state.nodes
        cluster.kill_node(killed)
        wait_for(lambda: cluster.states()[job].state in ("NODE_FAIL", "FAILED"), process)
        if nodes == 2:
            cluster.start_node(killed)  # there is no third
        ended(process, folder)
    *lost, last = states_of(training_jobs(cluster, before))
    assert lost
    assert set(lost) <= ({"NODE_FAIL"} if nodes == 1 else {"NODE_FAIL", "FAILED"})  # the other node may notice first
    assert last == "COMPLETED"
    assert "resumed at step" in log(folder)
    assert weights(folder) == undisturbed


def test_a_job_cancelled_by_hand(folder, cluster, undisturbed):
    before = cluster.states()
    with snakemake_on(cluster, folder, CONFIG, "pretrain") as process:
        wait_for(lambda: trains(folder), process)
        (job,) = training_jobs(cluster, before)
        cluster.run("scancel", str(job))
        wait_for(lambda: "stopped with a checkpoint" in log(folder), process)
        ended(process, folder)
    assert states_of(training_jobs(cluster, before)) == ["CANCELLED", "COMPLETED"]
    assert "resumed at step" in log(folder)
    assert weights(folder) == undisturbed


def test_a_training_longer_than_its_time_limit(folder, cluster, undisturbed):
    before = cluster.states()
    limit = {"pretrain.time_limit_minutes": 3, "pretrain.margin_minutes": 2.5}  # stops after half a minute
    with snakemake_on(cluster, folder, changed(CONFIG, limit), "pretrain") as process:
        wait_for(lambda: trains(folder), process)
        freeze(folder)  # a training so small would be done before
        time.sleep(30)
        thaw(folder)
        wait_for(lambda: "stopped with a checkpoint" in log(folder), process)
        ended(process, folder)
    *stopped, last = states_of(training_jobs(cluster, before))
    assert last == "COMPLETED"
    assert stopped
    assert set(stopped) == {"FAILED"}  # by themselves: Slurm would have said TIMEOUT
    assert "resumed at step" in log(folder)
    assert weights(folder) == undisturbed


def test_snakemake_killed_and_started_again(folder, cluster, undisturbed):
    before, stages = cluster.states(), finished_stages(folder)
    with snakemake_on(cluster, folder, CONFIG, "pretrain") as process:
        wait_for(lambda: trains(folder), process)
        freeze(folder)
        process.kill()
    (orphan,) = training_jobs(cluster, before)
    assert "LockException" in run_on(cluster, folder, CONFIG, "pretrain", fails=True)
    succeeded(snakemake(folder, CONFIG, "--unlock"))
    assert cluster.states()[orphan].state == "RUNNING"

    run_on(cluster, folder, CONFIG, "pretrain")
    assert states_of(training_jobs(cluster, before)) == ["CANCELLED", "COMPLETED"]
    assert f"cancelling Slurm's job {orphan}" in log(folder)
    assert "resumed at step" in log(folder)
    assert weights(folder) == undisturbed
    assert finished_stages(folder) == stages
    assert planned_jobs(folder, CONFIG, target()) == set()
