"""A work folder for one job at a time; Slurm's commands are played by scripts, which keep a file per running job."""

import errno
import fcntl
import os

import pytest

from drasclr_core.base import locks as work_folder
from drasclr_core.base.errors import InputError
from drasclr_core.base.locks import alone_in

OLD, NEW = ("drasclr_0fe76b76-5218-4427-ae9e-98cb554e815b", "1fe76b76-5218-4427-ae9e-98cb554e815c")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The folder of running jobs: job id -> a file with its name."""
    jobs, programs = tmp_path / "jobs", tmp_path / "bin"
    jobs.mkdir()
    programs.mkdir()
    # squeue --noheader --jobs ID --format=%j
    forgotten = 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1'
    squeue = f'[ -e "{jobs}/$3" ] || {{ {forgotten}; }}; cat "{jobs}/$3"'
    for name, script in {"squeue": squeue, "scancel": f'mv "{jobs}/$1" "{jobs}/cancelled"'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    (jobs / "8").write_text(NEW)
    return jobs


def left_by(job, work):
    """Leave a folder as a job does that was killed."""
    work.mkdir()
    (work / "lock").write_text(job)
    return work


def test_a_second_training_is_refused_while_the_first_runs(tmp_path):
    with alone_in(tmp_path / "work"), pytest.raises(InputError, match="Another training still writes to"):  # noqa: SIM117
        with alone_in(tmp_path / "work"):
            pass
    with alone_in(tmp_path / "work"):
        pass


def test_a_job_notes_its_number_while_it_is_there(tmp_path, slurm):
    with alone_in(tmp_path / "work"):
        assert (tmp_path / "work/lock").read_text() == "8"
    assert (tmp_path / "work/lock").read_text() == ""


@pytest.mark.parametrize("error", [None, errno.ENOSYS], ids=["locks", "no locks"])
def test_a_job_that_an_earlier_run_left_is_cancelled(tmp_path, slurm, monkeypatch, error):
    def flock(file, operation):
        raise OSError(error, os.strerror(error))

    if error:
        monkeypatch.setattr(fcntl, "flock", flock)
    (slurm / "7").write_text(OLD)
    with alone_in(left_by("7", tmp_path / "work")):
        assert (slurm / "cancelled").read_text() == OLD
        assert (tmp_path / "work/lock").read_text() == "8"


def test_a_job_that_ended_without_a_word_is_no_obstacle(tmp_path, slurm):
    with alone_in(left_by("7", tmp_path / "work")):
        assert not (slurm / "cancelled").exists()


def test_a_job_started_again_under_its_number_goes_on(tmp_path, slurm):
    with alone_in(left_by("8", tmp_path / "work")):
        assert (slurm / "8").exists()


def test_a_replay_by_hand_cancels_nothing(tmp_path, slurm):
    (slurm / "7").write_text(OLD)
    (slurm / "8").write_text("interactive")
    with pytest.raises(InputError, match="Another training"), alone_in(left_by("7", tmp_path / "work")):
        pass
    assert (slurm / "7").exists()


def test_a_cancelled_job_that_does_not_end_is_not_waited_for_for_ever(tmp_path, slurm, monkeypatch):
    monkeypatch.setattr(work_folder, "_PATIENCE_S", -1.0)
    (slurm.parent / "bin/scancel").write_text("#!/bin/sh\n")
    (slurm / "7").write_text(OLD)
    with pytest.raises(InputError, match="Another training"), alone_in(left_by("7", tmp_path / "work")):
        pass


def test_a_slurm_that_does_not_answer_ends_no_job(tmp_path, slurm):
    (slurm / "7").write_text(OLD)
    (slurm.parent / "bin/squeue").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(RuntimeError, match="Unable to contact"), alone_in(left_by("7", tmp_path / "work")):
        pass
    assert (slurm / "7").exists()
    assert (tmp_path / "work/lock").read_text() == "7"


def test_a_planted_link_is_no_lock(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "work").mkdir()
    (tmp_path / "work/lock").symlink_to(precious)
    with pytest.raises(InputError, match="is a link"), alone_in(tmp_path / "work"):
        pass
    assert precious.read_text() == "mine"
