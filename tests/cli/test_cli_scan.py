"""The commands for scans: what they print, what they write, and how they exit."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from scan_model import write_detectors, write_model_and_scans, write_scan
from typer.testing import CliRunner

from drasclr_core import load_model
from drasclr_core.cli.main import app
from drasclr_core.model import embed_scan as embedding_scan


def drasclr(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_model_and_scans(tmp_path_factory.mktemp("scans"))


def test_embed_writes_the_good_and_says_why_not_the_bad(place, tmp_path):
    good, bad = place / "good.nii.gz", place / "bad.nii.gz"
    result = drasclr("embed", good, bad, "--model", place / "model", "-o", tmp_path / "f.parquet")
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{good}: ok: lungs 2.")
    assert lines[1].startswith(f"{bad}: refused: no lung found")
    assert lines[2:] == [f"means: {tmp_path / 'f.parquet'}", f"landmarks: {tmp_path / 'f.landmarks.parquet'}"]
    assert pd.read_parquet(tmp_path / "f.parquet")["scan"].tolist() == [str(good)]


def test_embed_reads_the_features_asked_for_and_says_which(place, tmp_path):
    tables = {}
    for name, arguments in {"default": [], "last": ["--features", "last"], "pooled": ["--features", "pooled"]}.items():
        target = tmp_path / f"{name}.parquet"
        result = drasclr("embed", place / "good.nii.gz", "--model", place / "model", "-o", target, *arguments)
        assert result.exit_code == 0, result.output
        tables[name] = pd.read_parquet(target)
    assert {name: table.attrs["features"] for name, table in tables.items()} == {
        "default": "last",
        "last": "last",
        "pooled": "pooled",
    }
    assert tables["pooled"].columns.tolist() == ["scan", *(f"f{i}" for i in range(8 + 944))]
    pd.testing.assert_frame_equal(tables["pooled"][tables["last"].columns], tables["last"])
    pd.testing.assert_frame_equal(tables["default"], tables["last"])


def test_embed_in_json(place, tmp_path):
    result = drasclr("embed", place / "good.nii.gz", "--model", place / "model", "-o", tmp_path / "f.csv", "--json")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert content["files"] == {"means": str(tmp_path / "f.csv"), "landmarks": str(tmp_path / "f.landmarks.csv")}
    (scan,) = content["scans"]
    assert (scan["status"], scan["reason"]) == ("ok", None)
    assert set(scan["metrics"]) == {"ingest", "segment", "register", "patches"}


def test_embed_writes_nothing_where_all_are_refused(place, tmp_path):
    result = drasclr("embed", place / "bad.nii.gz", "--model", place / "model", "-o", tmp_path / "f.csv", "--json")
    content = json.loads(result.stdout)
    assert (result.exit_code, content["files"], content["scans"][0]["status"]) == (3, {}, "refused")
    assert list(tmp_path.iterdir()) == []


def test_qc_says_what_would_be_refused_with_and_without_a_model(place):
    for more in ([], ["--model", place / "model"]):
        result = drasclr("qc", place / "good.nii.gz", place / "bad.nii.gz", *more)
        assert result.exit_code == 3
        good, bad = result.stdout.splitlines()
        assert ("landmarks" in good) == bool(more)
        assert "refused: no lung found" in bad


def test_a_missing_lung_is_told_of_and_no_cause_to_refuse(place, tmp_path):
    write_scan(place / "single.nii.gz", left_lung=False)
    result = drasclr("embed", place / "single.nii.gz", "--model", place / "model", "-o", tmp_path / "f.csv")
    assert result.exit_code == 0, result.output
    assert "Dice 0.9" in result.stdout.splitlines()[0]
    assert "the left lung is missing" in result.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "f.txt"], r"f.txt: the suffix says the format; give .parquet or .csv"),
        (["-o", "good.nii.gz/f.csv"], "cannot be written"),
        (["-o", "no/such dir/f.csv"], "there is no folder no/such dir: mkdir -p 'no/such dir'"),
        (["missing.nii.gz", "also/missing", "-o", "f.csv"], "no such file or folder: missing.nii.gz, also/missing"),
        (["-o", "f.csv", "--device", "tpu"], "give auto, cpu or cuda"),
        (["good.nii.gz", "-o", "f.csv"], "named twice: good.nii.gz"),
        (["-o", "f.csv", "--model", "."], "not a model folder"),
        (["-o", os.fsdecode(b"\xfc.csv")], r"\udcfc.csv: the name is not UTF-8"),
        (["-o", "f.csv", "--model", os.fsdecode(b"\xfc")], r"\udcfc: the name is not UTF-8"),
    ],
)
def test_a_call_that_cannot_be_done_is_told_before_the_work(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    result = drasclr("embed", "good.nii.gz", "--model", "model", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["qc", "missing.nii.gz"], "no such file or folder: missing.nii.gz"),
        (["qc", "good.nii.gz", "--picture", "no/p.png"], "there is no folder no: mkdir -p no"),
        (["detect", "missing.nii.gz", "--detectors", "run/detector", "-o", "m.nii.gz"], "no such file or folder"),
        (["detect", "good.nii.gz", "--detectors", "run/detector", "-o", "no/m.nii.gz"], "mkdir -p no"),
    ],
)
def test_other_commands_tell_what_is_not_there_likewise(place, monkeypatch, call, message):
    monkeypatch.chdir(place)
    if not Path("run").exists():
        write_detectors(Path("run/detector"), load_model("model"), centrilobular=[0.9], paraseptal=[])
    before = sorted(place.rglob("*"))
    result = drasclr(*call, "--model", "model")
    assert (result.exit_code, result.stdout, message in result.stderr) == (2, "", True), result.stderr
    assert sorted(place.rglob("*")) == before


def test_a_failure_that_is_not_the_scans_keeps_the_others(place, tmp_path, monkeypatch):
    def fail(scan, *arguments, **settings):
        raise RuntimeError("a bug")

    monkeypatch.setattr(embedding_scan, "segment", fail)
    (tmp_path / "empty.nii.gz").touch()
    result = drasclr("qc", place / "good.nii.gz", tmp_path / "empty.nii.gz", "--json")
    states = {scan["status"]: scan["reason"] for scan in json.loads(result.stdout)["scans"]}
    assert states["failed"] == "RuntimeError: a bug"
    assert states["refused"].startswith("the file is empty")
    assert result.exit_code == 1


def test_a_name_that_is_not_utf_8_costs_no_other_scan(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"M\xfcller.nii.gz")
    Path(odd).touch()
    result = drasclr("qc", odd, place / "bad.nii.gz")
    assert result.exit_code == 3
    first, second = result.stdout.splitlines()
    assert first.startswith("M\\udcfcller.nii.gz: refused: the name is not UTF-8")
    assert "refused: no lung found" in second
    told = json.loads(drasclr("qc", odd, "--json").stdout)
    assert told["scans"][0]["scan"] == "M\\udcfcller.nii.gz"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_leaves_no_temporary_folder(place, tmp_path, number):
    code = f"import signal; signal.signal({number:d}, signal.SIG_DFL); from drasclr_core.cli.main import app; app()"
    command = [sys.executable, "-c", code, "qc", str(place / "good.nii.gz")]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        while process.poll() is None and not any(tmp_path.glob("drasclr-*")):
            time.sleep(0.01)
        process.send_signal(number)
        process.wait(timeout=300)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def at_the_second_table(monkeypatch):
    """Return what sets what happens once the first of the two tables is written."""
    write = pd.DataFrame.to_csv

    def then(act):
        def to_csv(frame, path, **options):
            if "landmark" not in frame:
                act()
            write(frame, path, **options)

        monkeypatch.setattr(pd.DataFrame, "to_csv", to_csv)

    return then


def old_tables(folder):
    tables = {folder / "f.csv": "old", folder / "f.landmarks.csv": "old"}
    for path, text in tables.items():
        path.write_text(text)
    return tables


def texts(folder):
    return {path: path.read_text() for path in folder.iterdir()}


def test_sigterm_while_the_tables_are_written_leaves_the_old_ones(place, tmp_path, at_the_second_table):
    before = old_tables(tmp_path)
    at_the_second_table(lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = drasclr("embed", place / "good.nii.gz", "--model", place / "model", "-o", tmp_path / "f.csv")
    assert result.exit_code == 128 + signal.SIGTERM
    assert texts(tmp_path) == before


def test_a_full_disk_leaves_the_old_tables_and_the_report(place, tmp_path, at_the_second_table):
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    before = old_tables(tmp_path)
    at_the_second_table(fail)
    result = drasclr("embed", place / "good.nii.gz", "--model", place / "model", "-o", tmp_path / "f.csv", "--json")
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert (content["files"], content["scans"][0]["status"]) == ({}, "ok")
    assert f"{tmp_path / 'f.csv'} cannot be written: [Errno 28] No space left on device" in result.stderr
    assert texts(tmp_path) == before
