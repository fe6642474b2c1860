"""A training of two processes, which torchrun starts in sessions of their own: is it killed with the workflow."""

import os
import shutil
import signal
import time

import psutil
import pytest
from fault_workflow import Workflow
from workflow_run import changed, succeeded, tiny_config

pytestmark = [pytest.mark.workflow, pytest.mark.faults]

CONFIG = changed(tiny_config(), {"pretrain.checkpoint_minutes": 0, "pretrain.processes": 2, "pretrain.epochs": 40})
MODEL = "results/phantom/healthy/runs/drasclr/model"


def test_to_kill_the_process_group_ends_the_training_too(finished, tmp_path):
    workflow = Workflow(tmp_path / "workflow", CONFIG, None)
    shutil.copytree(finished, workflow.folder, dirs_exist_ok=True)
    shutil.rmtree(workflow.folder / MODEL)
    process = workflow.start(workflow.folder / "start-0.txt", f"{MODEL}/SHA256SUMS")
    while not any(workflow.folder.glob("work/*/checkpoint-*.pt")):
        assert process.poll() is None, (workflow.folder / "start-0.txt").read_text()
        time.sleep(0.01)
    assert {os.getpgid(one.pid) for one in workflow.processes()} > {process.pid}
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(workflow.processes(), timeout=10)[1] == []

    workflow.unlock()
    succeeded(workflow.run(f"{MODEL}/SHA256SUMS"))
    assert workflow.resumed()
    assert (workflow.folder / MODEL / "encoder.safetensors").exists()
    assert workflow.strays() == []
