"""Pretraining on a Slurm cluster: one node or two make the encoder that one computer makes; stopped, a job goes on."""

import numpy as np
import pytest
from on_cluster import ended, run_on, snakemake_on, wait_for
from safetensors.numpy import load_file
from training import (
    BOTH,
    GPUS,
    copy_untrained,
    freeze,
    log,
    losses,
    model,
    target,
    trainers,
    training_jobs,
    trains,
    weights,
)
from workflow_run import changed

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]


@pytest.fixture(scope="module")
def two_nodes(local_run, shared_cluster, tmp_path_factory):
    """The folder in which two nodes trained, and what Slurm says of their jobs."""
    folder = copy_untrained(local_run, tmp_path_factory.mktemp("two") / "nodes")
    before = shared_cluster.states()
    run_on(shared_cluster, folder, changed(BOTH, {"pretrain.nodes": 2, **GPUS}), "pretrain")
    jobs = training_jobs(shared_cluster, before)
    return folder, [(state, shared_cluster.run("scontrol", "show", "job", str(job))) for job, state in jobs.items()]


def test_each_of_two_nodes_runs_one_of_two_processes(two_nodes):
    folder, jobs = two_nodes
    assert [state.state for state, _ in jobs] == ["COMPLETED", "COMPLETED"]
    for state, shown in jobs:
        assert state.nodes == "g[1-2]"
        assert "NumCPUs=2 NumTasks=2 CPUs/Task=1" in shown
        assert "TresPerNode=gres:gpu:1" in shown
    assert log(folder).count("unfinished state lies in") == 2  # said by each process


def test_two_nodes_train_the_encoder_that_two_processes_train(two_nodes, local_trainings):
    assert weights(two_nodes[0]) == weights(local_trainings)


def test_two_nodes_train_as_one_process_does(two_nodes, local_run, local_trainings):
    folder, _ = two_nodes
    np.testing.assert_allclose(losses(folder)[:3], losses(local_run)[:3], rtol=1e-5)
    np.testing.assert_allclose(losses(folder, "double"), losses(local_trainings, "double"), rtol=1e-8)
    ours, theirs = (load_file(place / model("double") / "encoder.safetensors") for place in (folder, local_trainings))
    for name, found in ours.items():
        # Stored as float32: rounding may go either way in the last bit.
        np.testing.assert_allclose(found, theirs[name], rtol=np.finfo(np.float32).eps, atol=1e-8, err_msg=name)


def test_a_job_told_to_end_stops_with_a_checkpoint_and_the_next_goes_on(local_run, local_trainings, cluster, tmp_path):
    folder = copy_untrained(local_run, tmp_path / "folder")
    before = cluster.states()
    with snakemake_on(cluster, folder, changed(BOTH, GPUS), target()) as process:
        wait_for(lambda: trains(folder), process)
        freeze(folder)
        (job,) = training_jobs(cluster, before)
        shown = cluster.run("scontrol", "show", "job", str(job))
        assert "NumCPUs=2 NumTasks=1 CPUs/Task=2" in shown
        assert "TresPerNode=gres:gpu:2" in shown
        assert [trainer.environ()["CUDA_VISIBLE_DEVICES"] for trainer in trainers(folder)] == ["0,1", "0,1"]
        cluster.run("scancel", "--signal=TERM", str(job))  # as before preemption, or with sbatch --signal
        for trainer in trainers(folder):
            trainer.resume()
        wait_for(lambda: "stopped with a checkpoint at step" in log(folder), process)
        ended(process, folder)
    assert [state.state for state in training_jobs(cluster, before).values()] == ["FAILED", "COMPLETED"]
    assert "resumed at step" in log(folder)
    assert weights(folder) == weights(local_trainings)
