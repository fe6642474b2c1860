"""Unfinished trainings: what is listed, and what may be removed."""

import os

import pytest
from typer.testing import CliRunner

from drasclr_core.base.errors import InputError
from drasclr_core.base.locks import alone_in
from drasclr_core.cli.main import app
from drasclr_core.workflow.unfinished import (
    GOES_ON,
    RUNS,
    SUPERSEDED,
    UNKNOWN,
    note_training,
    remove_unfinished,
    unfinished_trainings,
)

MODEL = "results/phantom/healthy/runs/drasclr/model"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begun(project, name, hours_ago, model=MODEL, step=0):
    """Make a folder of work that was last written to some hours ago."""
    folder = project / "work" / name
    folder.mkdir(parents=True)
    if model:
        note_training(folder, model)
    (folder / "lock").touch()
    if step:
        (folder / f"checkpoint-{step:09d}.pt").write_bytes(bytes(1000))
    for path in [*folder.iterdir(), folder]:
        _age(path, hours_ago)
    return folder


def _age(path, hours):
    moment = path.stat().st_mtime - 3600 * hours
    os.utime(path, (moment, moment))


def states(project):
    return {each.folder.name: each.state for each in unfinished_trainings(project / "work")}


def test_a_training_that_was_broken_off_goes_on(project):
    begun(project, "a", 1, step=80)
    (found,) = unfinished_trainings(project / "work")
    assert (found.state, found.step, found.model) == (GOES_ON, 80, MODEL)
    assert 1000 <= found.size_bytes < 1200


def test_a_training_is_superseded_by_later_work_for_its_model_and_by_its_model(project):
    begun(project, "old", 5)
    begun(project, "new", 1)
    begun(project, "other", 5, model="results/phantom/healthy/runs/local/model")
    assert states(project) == {"old": SUPERSEDED, "new": GOES_ON, "other": GOES_ON}
    (project / MODEL).mkdir(parents=True)
    (project / MODEL / "model.json").touch()
    assert states(project) == {"old": SUPERSEDED, "new": SUPERSEDED, "other": GOES_ON}
    _age(project / MODEL / "model.json", 3)  # the model of the settings before: the new work is to take its place
    assert states(project)["new"] == GOES_ON


def test_without_a_note_nothing_is_guessed(project):
    begun(project, "a", 5, model=None)
    begun(project, "b", 1, model=None)
    assert states(project) == {"a": UNKNOWN, "b": UNKNOWN}


def test_a_running_training_is_not_removed_nor_what_is_none(project):
    old, running = begun(project, "old", 5), begun(project, "running", 3)
    with alone_in(running):
        assert states(project)["running"] == RUNS
        with pytest.raises(InputError, match="its training runs"):
            remove_unfinished([old, running], project / "work")
    with pytest.raises(InputError, match="is no unfinished training"):
        remove_unfinished([old, project], project / "work")
    assert old.exists()
    assert running.exists()


def test_the_command_removes_what_is_superseded_and_no_more(project):
    old, new = begun(project, "old", 5), begun(project, "new", 1)
    listed = CliRunner().invoke(app, ["unfinished"])
    assert [line.split(":")[0] for line in listed.output.splitlines()] == ["work/new", "work/old"]
    removed = CliRunner().invoke(app, ["unfinished", "--remove"])
    assert removed.output.startswith("removed work/old")
    assert (old.exists(), new.exists()) == (False, True)
    assert CliRunner().invoke(app, ["unfinished", "--remove", "work/new"]).exit_code == 0
    assert not new.exists()
    assert CliRunner().invoke(app, ["unfinished"]).stdout == ""


def test_a_link_or_a_damaged_note_neither_ends_the_list_nor_leads_elsewhere(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    begun(project, "old", 5)
    begun(project, "new", 1)
    (project / "work/link").symlink_to(elsewhere)
    for name, text in (("list", "[1]"), ("empty", ""), ("other", "{}")):
        (begun(project, name, 2, model=None) / "training.json").write_text(text)
    (project / "work/new/checkpoint-².pt").touch()
    (project / "work/new/gone").symlink_to("nowhere")
    assert states(project) == {"new": GOES_ON, "old": SUPERSEDED, "list": UNKNOWN, "empty": UNKNOWN, "other": UNKNOWN}
    assert CliRunner().invoke(app, ["unfinished", "--remove"]).exit_code == 0
    assert elsewhere.exists()
    assert CliRunner().invoke(app, ["unfinished", "work/nothing"]).exit_code == 2
