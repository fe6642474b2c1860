"""Snakemake alone is killed, as by the system where memory is short: its jobs live on, and it must not start beside."""

import re
import time
from pathlib import Path

import psutil
import pytest
from fault_workflow import Workflow
from workflow_run import succeeded, tiny_config

from drasclr_core.base.files import read_record

pytestmark = pytest.mark.workflow

TARGET = "results/phantom/phantom/phantom-001"


def job_of(workflow):
    """Return the process of the running job's script; None before it has begun."""
    for process in workflow.processes():
        if any(argument.endswith("simulate_scan.py") for argument in process.cmdline()):
            return process
    return None


@pytest.fixture
def workflow(tmp_path):
    workflow = Workflow(tmp_path / "workflow", tiny_config(), None)
    yield workflow
    for left in workflow.processes():
        left.kill()


def test_the_next_start_is_refused_until_the_jobs_of_the_killed_one_have_ended(workflow):
    output = workflow.folder / "output.txt"
    process = workflow.start(output, TARGET)
    while (job := job_of(workflow)) is None:
        assert process.poll() is None, output.read_text()
        time.sleep(0.01)
    job.suspend()
    process.kill()
    process.wait()
    temporary = [*workflow.temporary.iterdir()]
    assert temporary

    workflow.unlock()
    refused = workflow.run(TARGET)
    told = " ".join((refused.stdout + refused.stderr).split())
    assert refused.returncode != 0
    numbers = re.search(r"Jobs of a workflow that was killed still write to .*/results \(processes ([\d, ]+)\)", told)
    assert str(job.pid) in numbers[1].split(", ")
    assert "Traceback" not in told
    assert set(temporary) <= set(workflow.temporary.iterdir())  # the job may hold files there

    job.resume()
    assert psutil.wait_procs(workflow.processes(), timeout=60)[1] == []
    succeeded(workflow.run(TARGET))
    assert read_record(workflow.folder / Path(TARGET)).status == "ok"
    assert workflow.strays() == []
