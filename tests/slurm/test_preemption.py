"""A training that gives way to a more urgent job goes on from its last checkpoint."""

import subprocess
from contextlib import suppress

import pytest
from on_cluster import ended, snakemake_on, wait_for
from training import CONFIG, copy_untrained, freeze, log, target, training_jobs, trains, weights

pytestmark = [pytest.mark.slurm_faults, pytest.mark.workflow]

REQUEUE = {"default-resources.slurm_extra": "'--requeue'"}


def test_a_preempted_training_is_started_again_by_slurm(local_run, local_trainings, cluster, tmp_path):
    folder = copy_untrained(local_run, tmp_path / "folder")
    before = cluster.states()
    with snakemake_on(cluster, folder, CONFIG, target(), profile=REQUEUE) as process:
        wait_for(lambda: trains(folder), process)
        freeze(folder)
        (training,) = training_jobs(cluster, before)
        options = ["--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null"]
        urgent = int(cluster.run("sbatch", "--parsable", *options, "--wrap=true"))
        wait_for(lambda: cluster.states()[training].state == "PENDING", process)
        wait_for(lambda: cluster.states()[urgent].state == "COMPLETED", process)
        with suppress(subprocess.CalledProcessError):  # Slurm may let it wait for two minutes, or has started it
            cluster.run("scontrol", "update", f"JobId={training}", "StartTime=now")
        ended(process, folder)
    jobs = training_jobs(cluster, {**before, urgent: None})
    assert {job: state.state for job, state in jobs.items()} == {training: "COMPLETED"}
    assert "resumed at step" in log(folder)
    assert weights(folder) == weights(local_trainings)
