"""A tiny cohort from nothing to its encoder on a Slurm cluster, as on one computer."""

import json

import pytest
from on_cluster import ALIGNED, run_on, small_config
from workflow_run import planned_jobs

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]

CONFIG = small_config()
ENCODER = f"{ALIGNED}/runs/drasclr/model/encoder.safetensors"


@pytest.fixture(scope="module")
def finished(shared_cluster, tmp_path_factory):
    """The folder in which the cluster made the encoder, and the jobs that this took."""
    folder = tmp_path_factory.mktemp("finished")
    before = shared_cluster.states()
    (folder / "scratch").mkdir()
    run_on(shared_cluster, folder, CONFIG, "pretrain", variables={"SLURM_TMPDIR": str(folder / "scratch")})
    return folder, [state for job, state in shared_cluster.states().items() if job not in before]


def test_the_cluster_makes_the_encoder_that_one_computer_makes(finished, local_run):
    assert (finished[0] / ENCODER).read_bytes() == (local_run / ENCODER).read_bytes()


def test_subjects_share_jobs_and_jobs_are_spread_over_the_nodes(finished):
    _, jobs = finished
    assert {job.state for job in jobs} == {"COMPLETED"}
    # The atlas's lender up to its mask, four subjects in pairs, the bank, and the training.
    assert len(jobs) == 5
    assert {job.nodes for job in jobs} >= {"c1", "c2"}
    assert sum(job.nodes in ("g1", "g2") for job in jobs) == 1


def test_jobs_keep_their_temporary_files_in_the_scratch_space_of_their_own(finished):
    logs = list((finished[0] / "logs").rglob("register_lungs/*.log"))
    assert len(logs) == 4
    for log in logs:
        first_line = log.read_text(encoding="utf-8").splitlines()[0]
        assert json.loads(first_line[first_line.index("{") :])["resources"]["tmpdir"] == str(finished[0] / "scratch")


def test_nothing_is_left_to_do_on_one_computer(finished):
    assert planned_jobs(finished[0], CONFIG, "pretrain") == set()
