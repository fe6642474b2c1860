"""The cluster that the tests in this folder share, and one computer's results to compare with.

Tests are skipped where Slurm is not installed.
"""

import signal

import pytest
from cluster import Cluster, missing
from on_cluster import small_config
from training import BOTH, copy_untrained
from workflow_run import changed, snakemake, succeeded


@pytest.fixture(scope="session")
def shared_cluster():
    """A running cluster, for fixtures that outlive a test; tests take `cluster`."""
    if names := missing():
        pytest.skip(f"Slurm is not installed: no {', '.join(names)}")
    previous = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))  # else jobs would live on
    with Cluster() as running:
        yield running
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture
def cluster(shared_cluster):
    """A running cluster with four idle nodes; what a test leaves running or broken is cleaned up."""
    shared_cluster.wait_until_idle()
    yield shared_cluster
    shared_cluster.reset()


@pytest.fixture(scope="session")
def local_run(shared_cluster, tmp_path_factory):
    """The folder in which one computer made the encoder of `small_config`."""
    folder = tmp_path_factory.mktemp("local")
    succeeded(snakemake(folder, small_config(), "pretrain"))
    return folder


@pytest.fixture(scope="session")
def local_trainings(local_run, tmp_path_factory):
    """The folder in which one computer trained `drasclr` by two processes, `double` by one."""
    folder = copy_untrained(local_run, tmp_path_factory.mktemp("trainings") / "folder")
    succeeded(snakemake(folder, changed(BOTH, {"runs.double.params.processes": 1}), "pretrain"))
    return folder
