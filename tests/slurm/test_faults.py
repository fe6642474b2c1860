"""Faults in the midst of the subjects' work: the same command again ends with the same bank, and does nothing twice."""

import pytest
from on_cluster import ended, finished_stages, run_on, small_config, snakemake_on, wait_for
from unfinished import STAGES, SUBJECTS, bank_bytes, unfinished_copy

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]

CONFIG = small_config()


def kill_its_node(cluster, job):
    cluster.kill_node(cluster.states()[job].nodes)


def cancel_it(cluster, job):
    cluster.run("scancel", str(job))


@pytest.mark.parametrize(("fault", "state"), [(kill_its_node, "NODE_FAIL"), (cancel_it, "CANCELLED")])
def test_a_job_that_is_lost_in_registration_costs_only_what_it_was_doing(cluster, local_run, tmp_path, fault, state):
    unfinished_copy(local_run, tmp_path)
    with snakemake_on(cluster, tmp_path, CONFIG, "preprocess") as process:
        wait_for(lambda: list(tmp_path.glob("logs/**/register_lungs/*.log")), process)
        (job,) = cluster.jobs()
        fault(cluster, job)
        ended(process, tmp_path, fails=True)
    assert cluster.states()[job].state == state
    finished = finished_stages(tmp_path)
    segmented = {f"{STAGES[2]}/{subject}" for subject in SUBJECTS}
    registered = {f"{STAGES[3]}/{subject}" for subject in SUBJECTS}
    assert segmented & finished.keys()
    assert not registered <= finished.keys()

    run_on(cluster, tmp_path, CONFIG, "preprocess")
    assert finished.items() <= finished_stages(tmp_path).items()
    assert bank_bytes(tmp_path) == bank_bytes(local_run)
