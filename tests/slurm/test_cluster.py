"""The tests' own cluster: what the other tests in this folder rely on."""

import subprocess
import sys

import psutil
import pytest
from cluster import Cluster
from on_cluster import wait_for

pytestmark = pytest.mark.slurm


def submit(cluster, *options):
    return int(cluster.run("sbatch", "--parsable", "--output=/dev/null", *options))


def test_jobs_run_on_several_nodes_and_see_the_gpus_that_they_were_given(cluster):
    script = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
    seen = cluster.run("srun", "--partition=gpu", "--nodes=2", "--gpus-per-node=3", "bash", "-c", script)
    assert sorted(seen.splitlines()) == ["g1 0,1,2", "g2 0,1,2"]
    nodes = cluster.run("srun", "--nodes=2", "bash", "-c", "echo $SLURMD_NODENAME").split()
    assert sorted(nodes) == ["c1", "c2"]


def test_a_killed_node_takes_its_processes_along_and_comes_back(cluster, tmp_path):
    job = submit(cluster, "--nodelist=c1", "--no-requeue", f"--wrap=echo $$ > {tmp_path}/pid; exec sleep 600")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    cluster.kill_node("c1")
    process.wait(10)
    wait_for(lambda: cluster.states()[job].state == "NODE_FAIL")
    cluster.reset()
    assert cluster.run("srun", "--nodelist=c1", "echo", "back") == "back\n"


def test_a_job_over_its_memory_is_killed(cluster, tmp_path):
    script = "kept = bytearray(300_000_000); import time; time.sleep(600)"
    job = submit(cluster, "--mem=100", f"--error={tmp_path}/log", f"--wrap={sys.executable} -c '{script}'")
    wait_for(lambda: cluster.states()[job].state not in ("PENDING", "RUNNING", "COMPLETING"))
    assert "exceeded memory limit" in (tmp_path / "log").read_text()


def test_an_impossible_job_is_refused(cluster):
    with pytest.raises(subprocess.CalledProcessError, match="sbatch"):
        submit(cluster, "--cpus-per-task=64", "--wrap=true")


def test_nothing_is_left_of_a_stopped_cluster(tmp_path):
    with Cluster() as another:
        # The second is nobody's child, as what a killed step leaves.
        lost = f"setsid -f bash -c 'echo $$ > {tmp_path}/lost; exec sleep 600'"
        script = f"{lost}; echo $$ > {tmp_path}/pid; exec sleep 600"
        submit(another, f"--wrap={script}")
        wait_for(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("pid", "lost")))
        processes = [psutil.Process(int((tmp_path / name).read_text())) for name in ("pid", "lost")]
    for process in processes:
        process.wait(10)
    assert not another.folder.exists()
