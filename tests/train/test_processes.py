"""Two processes on one training: they stop at the same step, go on from the same checkpoint, and agree with one."""

import csv
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from toy_bank import toy_bank
from two_processes import SETTINGS

from drasclr_core.train.checkpoint import newest_checkpoint
from drasclr_core.train.loop import pretrain

ROOT = Path(__file__).parents[2]
STEPS = 8


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of a training by two processes, and what each of them tells."""
    work = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = " ".join(str(server.getsockname()[1]) for server in free)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "PORTS": ports, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/support/two_processes.py"), str(work)]
    both = [
        subprocess.Popen(command, env={**os.environ, **shared, "RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    logs = [process.communicate(timeout=100)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(logs)[-3000:]
    return work, [json.loads((work / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder of the same training by one process, without interruption."""
    work = tmp_path_factory.mktemp("one")
    pretrain(toy_bank(), replace(SETTINGS, probe_steps=0), work)
    return work


def read_metrics(work):
    with (work / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_one_process_out_of_time_stops_both_at_the_same_step(two):
    for told in two[1]:
        assert told["stopped"]
        assert max(told["left"]) == "checkpoint-000000002.pt"
        assert told["finished"]


def test_only_the_leading_process_probes(two):
    assert [told["probes"] for told in two[1]] == [[0, 0], []]  # at steps 4 and 8
    assert [row["probe_score"] for row in read_metrics(two[0])] == ["", "0.5", "0.5"]


def test_processes_that_find_different_checkpoints_refuse_to_go_on(two):
    for told in two[1]:
        assert "find checkpoints of steps [8, 0]" in told["fault"]


def test_two_processes_end_as_one_does(two, one):
    ours, theirs = newest_checkpoint(two[0]), newest_checkpoint(one)
    assert ours["step"] == theirs["step"] == STEPS
    # How many batches a process saw differs; so do the key encoder's running statistics, which nothing reads.
    differing = {"encoder": "num_batches_tracked", "key_encoder": ("num_batches_tracked", "mean", "var"), "queues": ()}
    for part, endings in differing.items():
        for name, value in theirs["contrast"][part].items():
            if not name.endswith(endings):
                difference = (ours["contrast"][part][name] - value).abs().max()
                assert difference < 1e-8, f"{part}: {name}"


def test_two_processes_report_what_one_does(two, one):
    ours, theirs = (read_metrics(work) for work in (two[0], one))
    for told, expected in zip(ours, theirs, strict=True):
        for name in set(told) - {"patches_per_second", "waiting_share", "probe_score"}:
            assert (told[name] == "") == (expected[name] == ""), name
            assert float(told[name] or 0) == pytest.approx(float(expected[name] or 0), rel=1e-8), name
    assert max(float(row["negatives"]) for row in ours) > 3  # those of the queue too


def test_the_launcher_passes_their_status_on(tmp_path):
    (tmp_path / "stopped.py").write_text("raise SystemExit(75)")
    launcher = ROOT / "workflow_scripts/_torchrun.py"
    command = [sys.executable, str(launcher), "--standalone", "--nproc-per-node", "2", str(tmp_path / "stopped.py")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 75, process.stderr[-3000:]
