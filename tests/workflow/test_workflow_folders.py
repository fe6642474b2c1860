"""The folders of a workflow: its results while it runs, its temporary ones once it was killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from workflow_run import ROOT

from drasclr_core.base.errors import InputError
from drasclr_core.workflow.folders import LOCK, clear_temporary, hold_results

REGISTERED = """
import sys, time
from pathlib import Path
from drasclr_core.workflow.folders import register_temporary
note = register_temporary(Path("registry"), [Path(name) for name in sys.argv[1:]])
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


def clear(folder):
    clear_temporary(folder / "registry", [folder / "snakemake-own"], folder / "scripts")


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
    process = registered("snakemake-one", "snakemake-two")
    (tmp_path / "snakemake-one" / "file").touch()
    (tmp_path / "other").mkdir()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "scripts" / "tmp2.py").touch()
    clear(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["other", "registry", "scripts"]
    assert os.listdir(tmp_path / "scripts") == []


def test_those_of_a_running_process_are_left_alone(tmp_path, registered):
    registered("snakemake-one")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "tmp1.py").touch()
    clear(tmp_path)
    assert {"snakemake-one", "scripts"} <= set(os.listdir(tmp_path))
    assert os.listdir(tmp_path / "scripts") == ["tmp1.py"]


def test_a_process_that_ends_takes_its_note_with_it(tmp_path, registered):
    process = registered("snakemake-one")
    assert len(os.listdir(tmp_path / "registry")) == 1
    process.communicate()
    assert os.listdir(tmp_path / "registry") == []


def test_a_note_of_somebody_else_removes_nothing(tmp_path):
    """Whoever may write to the registry could else name any folder of this user."""
    (tmp_path / "registry").mkdir()
    here = socket.gethostname()
    (tmp_path / "snakemake-real").mkdir()
    (tmp_path / "elsewhere" / "snakemake-deep").mkdir(parents=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "snakemake-link").symlink_to(tmp_path / "precious")
    (tmp_path / "snakemake-file").touch()
    everything = sorted(path for path in tmp_path.rglob("*") if "registry" not in path.parts)
    for name in ("precious", "elsewhere/snakemake-deep", "snakemake-link", "snakemake-file", "", "../x", "registry"):
        (tmp_path / "registry" / f"{here}-4711").write_text(f"{tmp_path}/{name}\n")
        clear(tmp_path)
        assert sorted(path for path in tmp_path.rglob("*") if "registry" not in path.parts) == everything
    (tmp_path / "registry" / "otherhost-4711").write_text(f"{tmp_path}/snakemake-real\n")
    clear(tmp_path)
    assert (tmp_path / "snakemake-real").exists()
    (tmp_path / "registry" / f"{here}-4711").write_text(f"{tmp_path}/snakemake-real\n")
    clear(tmp_path)
    assert not (tmp_path / "snakemake-real").exists()


def test_a_link_in_the_place_of_the_lock_is_not_written_to(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / LOCK).symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match=rf"{LOCK} is a link, which no workflow makes"):
        hold_results(tmp_path / "results")
    assert (tmp_path / "target").read_text() == "precious"


def test_a_lock_that_may_only_be_read_holds(tmp_path, monkeypatch):
    hold_results(tmp_path).close()
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, *more: _readable(real, path, flags, *more))
    lock = hold_results(tmp_path)
    with pytest.raises(InputError, match="Another workflow writes to"):
        hold_results(tmp_path)
    lock.close()
    hold_results(tmp_path).close()


def _readable(real, path, flags, *more):
    """Open a file as a user who may only read it: this test may run as root."""
    if str(path).endswith(LOCK) and flags & os.O_RDWR:
        raise PermissionError(13, "Permission denied", str(path))
    return real(path, flags, *more)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, to be a user without a name")
def test_a_user_without_a_name_may_start_the_workflow(tmp_path):
    """As in a container that is given the user's number alone."""
    nobody = ["unshare", "-U", "--map-user=12345", "--map-group=12345"]
    if subprocess.run([*nobody, "true"], check=False, capture_output=True).returncode:
        pytest.skip("unshare may not make users here")
    tmp_path.chmod(0o777)
    snakemake = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(tmp_path)]
    names = ("USER", "LOGNAME", "LNAME", "USERNAME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    command = [*nobody, *snakemake, "-n", "--cores", "1", "--", "preprocess"]
    run = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 0, (run.stdout + run.stderr)[-2000:]
