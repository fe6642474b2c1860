"""What starts a training on one process, several, and several nodes, and what the job asks a cluster for."""

import re
import shlex
import sys

import pytest
from workflow_run import ROOT, changed, snakemake, succeeded, tiny_config

PYTHON, SCRIPT = sys.executable, str(ROOT / "workflow_scripts/pretrain_encoder.py")
TORCHRUN = f"{PYTHON} {ROOT}/workflow_scripts/_torchrun.py"
RUNS = {
    "one": {"processes": 1, "device": "cpu"},
    "one-gpu": {"processes": 1, "device": "auto"},
    "four-gpus": {"processes": 4, "device": "cuda"},
    "two-nodes": {"processes": 2, "nodes": 2, "device": "cpu"},
    "two-nodes-of-gpus": {"processes": 4, "nodes": 2, "device": "cuda"},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Run -> its resources, and the words of its shell command up to the script's name."""
    runs = {name: {"method": "drasclr", "atlas": "healthy", "params": params} for name, params in RUNS.items()}
    training = {"groups": 4, "batch_size": 8, "cpu_threads": 3}
    changes = {"runs": runs, "cohorts.phantom.phantom.subjects": 8}
    config = changed(tiny_config(), changes | {f"pretrain.{key}": value for key, value in training.items()})
    folder = tmp_path_factory.mktemp("plan")
    output = succeeded(snakemake(folder, config, "--dry-run", "--printshellcmds", "pretrain", "--cores", "12"))
    block = r"^rule pretrain_encoder:\n(?:    .*\n)*?    wildcards: .*run=(\S+)\n(?:    .*\n)*?    resources: (.*)\n"
    found = re.findall(block + r"Shell command: (.*)$", output, re.M)
    return {run: (resources, shlex.split(command.partition(SCRIPT)[0])) for run, resources, command in found}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("one", PYTHON),
        ("one-gpu", PYTHON),
        ("four-gpus", f"{TORCHRUN} --standalone --local-addr 127.0.0.1 --nproc-per-node 4"),
        (
            "two-nodes",
            "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=3 --kill-on-bad-exit=1 "
            f"{TORCHRUN} --nproc-per-node 1",
        ),
        (
            "two-nodes-of-gpus",
            "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=6 --gres=gpu:2 --kill-on-bad-exit=1 "
            f"{TORCHRUN} --nproc-per-node 2",
        ),
    ],
)
def test_the_command_that_starts_a_training(plan, run, expected):
    assert plan[run][1] == shlex.split(f"trap '' TERM 'INT;' {expected}")


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("one", {}),
        ("one-gpu", {"gres": "gpu:1"}),
        ("four-gpus", {"gres": "gpu:4"}),
        ("two-nodes", {"nodes": "2", "tasks": "2", "mpi": "srun", "cpus_per_task": "3"}),
        ("two-nodes-of-gpus", {"nodes": "2", "tasks": "2", "mpi": "srun", "cpus_per_task": "6", "gres": "gpu:2"}),
    ],
)
def test_what_a_training_asks_slurm_for(plan, run, expected):
    assert dict(re.findall(r", (nodes|tasks|mpi|cpus_per_task|gres)=([\w:]+)", plan[run][0])) == expected
