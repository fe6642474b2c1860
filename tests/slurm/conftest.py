"""The cluster that the tests in this folder share; they are skipped where Slurm is not installed."""

import pytest
from cluster import Cluster, missing


@pytest.fixture(scope="session")
def shared_cluster():
    """A running cluster, for fixtures that outlive a test; tests take `cluster`."""
    if names := missing():
        pytest.skip(f"Slurm is not installed: no {', '.join(names)}")
    with Cluster() as running:
        yield running


@pytest.fixture
def cluster(shared_cluster):
    """A running cluster with four idle nodes; what a test leaves running or broken is cleaned up."""
    shared_cluster.wait_until_idle()
    yield shared_cluster
    shared_cluster.reset()
