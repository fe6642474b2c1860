"""Reaching into Snakemake: what is there, what is not, and a workflow without any of it."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from workflow_run import ROOT, changed, snakemake, snakemake_command, succeeded, tiny_config

from drasclr_core.base import insides
from drasclr_core.base.insides import PLAIN, reach, reach_module, remember

CONFIG = changed(tiny_config(), {"pretrain.probe_steps": 0})
MODEL = "results/phantom/healthy/runs/drasclr/model"


def test_what_is_there_is_returned(caplog):
    workflow = SimpleNamespace(settings=SimpleNamespace(quiet=False))
    assert reach(workflow, "settings.quiet", "all is lost") is False
    assert reach_module("collections", "abc.Mapping.__name__", "all is lost") == "Mapping"
    assert caplog.text == ""


@pytest.mark.parametrize("path", ["absent", "settings.absent"])
def test_what_is_not_there_is_told_with_what_is_lost(path, caplog):
    workflow = SimpleNamespace(settings=SimpleNamespace())
    assert reach(workflow, path, "jobs are slower", default=3) == 3
    assert f"no {path} (absent): jobs are slower." in caplog.text


def test_so_is_a_module(caplog):
    assert reach_module("absent_module", "anything", "jobs are slower") is None
    assert "no absent_module: jobs are slower." in caplog.text


def test_a_function_keeps_its_answers(monkeypatch):
    asked = []
    monkeypatch.setattr(insides, "ask", lambda x: asked.append(x) or len(asked), raising=False)
    monkeypatch.setattr(insides, "Class", type("Class", (), {"ask": staticmethod(insides.ask)}), raising=False)
    for path, function in (("ask", lambda x: insides.ask(x)), ("Class.ask", lambda x: insides.Class.ask(x))):
        remember("drasclr_core.base.insides", path, "")
        asked.clear()
        assert (function(1), function(1), function(2)) == (1, 1, 2)


def test_only_one_file_knows_snakemakes_insides():
    inner = [path.name for path in ROOT.glob("rules/*.smk") if "import snakemake" in path.read_text()]
    inner += [path.name for path in ROOT.glob("rules/*.smk") if "from snakemake" in path.read_text()]
    assert inner == []


@pytest.mark.workflow
def test_without_any_of_them_the_encoder_is_the_same(finished, tmp_path):
    environment = {**os.environ, "PATH": os.defpath, PLAIN: "1"}
    command = snakemake_command(tmp_path, CONFIG, f"{MODEL}/SHA256SUMS")
    succeeded(subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False))
    made, expected = (Path(folder) / MODEL / "encoder.safetensors" for folder in (tmp_path, finished))
    assert made.read_bytes() == expected.read_bytes()
    # And neither knows of the other's absence: what one has made is finished for the other.
    assert "Nothing to be done" in succeeded(snakemake(tmp_path, CONFIG, f"{MODEL}/SHA256SUMS"))
