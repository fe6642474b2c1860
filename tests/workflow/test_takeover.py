"""The head job where one before it was killed, with a Snakemake and a Slurm that only note their calls."""

import os
import socket
import subprocess

import pytest
from workflow_run import ROOT

from drasclr_core.workflow.folders import LOCK, hold_results

HEAD = ROOT / "profiles" / "slurm" / "head.sbatch"
UNLOCKS = "--profile slurm --slurm-jobname-prefix drasclr --unlock all\n"
RUNS = "--profile slurm --slurm-jobname-prefix drasclr all\n"
COMMANDS = {
    "squeue": "exit 0",
    "snakemake": """echo "$*" >> calls
[ "$5" = --unlock ] || until grep -qs "^process $$ on" .snakemake/head-drasclr; do sleep 0.01; done""",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bin").mkdir()
    for name, line in COMMANDS.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        command.chmod(0o755)
    (tmp_path / ".snakemake").mkdir()
    return tmp_path


def submitted(folder):
    """Return the exit status of a head job, what it says, and its calls of Snakemake."""
    path = f"{folder}/bin{os.pathsep}{os.defpath}"
    environment = {"PATH": path, "SLURM_JOB_NAME": "drasclr", "SLURM_JOB_ID": "7"}
    command = ["bash", str(HEAD), "all"]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    calls = folder / "calls"
    return process.returncode, process.stdout, calls.read_text() if calls.exists() else ""


def killed_head(folder, process=1):
    """Let a head job have been killed in the folder, of which Snakemake was this process."""
    note = folder / ".snakemake" / "head-drasclr"
    note.write_text(f"process {process} on {socket.gethostname()}\n", encoding="utf-8")
    return note


def test_the_first_one_starts_snakemake(folder):
    assert submitted(folder) == (0, "", RUNS)
    assert os.listdir(folder / ".snakemake") == []


@pytest.mark.parametrize("results", [False, True])
def test_after_a_kill_the_next_one_unlocks(folder, results):
    note = killed_head(folder)
    if results:
        hold_results(folder / "results").close()
    status, told, calls = submitted(folder)
    assert (status, calls) == (0, UNLOCKS + RUNS)
    assert "taking over" in told
    assert not note.exists()


def test_what_somebody_else_works_in_is_not_unlocked(folder):
    note = killed_head(folder)
    with hold_results(folder / "results"):
        status, told, calls = submitted(folder)
    assert (status, calls) == (1, "")
    assert f"another workflow writes to results/ (process {os.getpid()} on {socket.gethostname()})" in told
    assert (folder / "results" / LOCK).exists()
    assert note.exists()  # the next one takes over


def test_a_lock_that_a_dead_node_still_holds_is_no_obstacle(folder, monkeypatch):
    """As on some file systems."""
    monkeypatch.setattr(socket, "gethostname", lambda: "dead-node")
    killed_head(folder, os.getpid())
    with hold_results(folder / "results"):
        assert submitted(folder)[2] == UNLOCKS + RUNS
    assert not (folder / "results" / LOCK).exists()


def test_a_lock_that_jobs_of_the_killed_one_hold_on_this_node_is_respected(folder):
    killed_head(folder, os.getpid())
    with hold_results(folder / "results"):
        assert submitted(folder)[::2] == (1, "")
    assert (folder / "results" / LOCK).exists()
