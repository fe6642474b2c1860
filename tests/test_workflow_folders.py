"""The folders of a workflow: its results while it runs, its temporary ones once it was killed."""

import os
import signal
import subprocess
import sys

import pytest
from workflow_run import ROOT

from drasclr_core.errors import InputError
from drasclr_core.workflow_folders import hold_results, register_temporary

REGISTERED = """
import sys, time
from pathlib import Path
from drasclr_core.workflow_folders import register_temporary
note = register_temporary(Path("registry"), [Path(name) for name in sys.argv[1:]], Path("scripts"))
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def registered(tmp_path):
    """Return a function that starts a process with temporary folders of its own, which lives until its input ends."""
    started = []

    def start(*names):
        for name in names:
            (tmp_path / name).mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", REGISTERED, *names],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def register(folder):
    register_temporary(folder / "registry", [], folder / "scripts").close()


def test_results_are_for_one_workflow_until_it_ends(tmp_path):
    results = tmp_path / "deep" / "results"
    lock = hold_results(results)
    (tmp_path / "link").symlink_to(results)
    told = rf"Another workflow writes to {results} \(process {os.getpid()} on .+\): wait for it or end it"
    for _ in range(2):  # a refusal changes nothing
        with pytest.raises(InputError, match=told):
            hold_results(tmp_path / "link")
    lock.close()
    hold_results(results).close()


def test_jobs_that_outlive_their_workflow_keep_the_next_one_out(tmp_path):
    lock = hold_results(tmp_path)
    job = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    lock.close()
    told = rf"Jobs of a workflow that was killed still write to {tmp_path} \(processes {job.pid}\): wait for them"
    with pytest.raises(InputError, match=told):
        hold_results(tmp_path)
    job.communicate(b"\n")
    hold_results(tmp_path).close()


def test_the_temporary_folders_of_a_killed_process_are_removed(tmp_path, registered):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "tmp1.py").touch()
    process = registered("one", "two")
    (tmp_path / "one" / "file").touch()
    (tmp_path / "other").mkdir()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "scripts" / "tmp2.py").touch()
    register(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["other", "registry", "scripts"]
    assert os.listdir(tmp_path / "scripts") == []


def test_those_of_a_running_process_are_left_alone(tmp_path, registered):
    registered("one")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "tmp1.py").touch()
    register(tmp_path)
    assert {"one", "scripts"} <= set(os.listdir(tmp_path))
    assert os.listdir(tmp_path / "scripts") == ["tmp1.py"]


def test_a_process_that_ends_takes_its_note_with_it(tmp_path, registered):
    process = registered("one")
    assert len(os.listdir(tmp_path / "registry")) == 1
    process.communicate()
    assert os.listdir(tmp_path / "registry") == []
