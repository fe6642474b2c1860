"""`drasclr embed --append`: what is there stays, what a killed call has done is not done again."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from scan_model import no_lungs, write_scan, write_scan_model
from typer.testing import CliRunner

from drasclr_core.cli.main import app
from drasclr_core.model.embed_tables import about_model
from drasclr_core.model.folder import load_model

TABLES = ("f.parquet", "f.landmarks.parquet")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, three scans, and in `whole` the tables of one undisturbed call."""
    folder = tmp_path_factory.mktemp("append")
    write_scan_model(folder / "model")
    for seed, name in enumerate("abc"):
        write_scan(folder / f"{name}.nii.gz", seed=seed, scale=1 + seed / 50)
    (folder / "whole").mkdir()
    assert embed(folder, folder / "whole", "a", "b", "c").exit_code == 0
    return folder


def call(place, target, *names, more=("--append",)):
    scans = [str(place / f"{name}.nii.gz") for name in names]
    return ["embed", *scans, "--model", str(place / "model"), "-o", str(target / "f.parquet"), *more]


def embed(place, target, *names, more=("--append",)):
    return CliRunner().invoke(app, call(place, target, *names, more=more))


def states(result):
    return [line.partition(": ")[2].partition(":")[0] for line in result.stdout.splitlines() if ".nii.gz: " in line]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_whole(place, target):
    """Check that both tables are those of an undisturbed call, and that nothing lies beside them."""
    assert sorted(path.name for path in target.iterdir()) == sorted(TABLES)
    for name in TABLES:
        found, expected = pd.read_parquet(target / name), pd.read_parquet(place / "whole" / name)
        pd.testing.assert_frame_equal(found, expected)
        assert found.attrs == expected.attrs


def test_a_killed_call_goes_on_where_it_stopped(place, tmp_path):
    command = [
        sys.executable,
        "-c",
        "from drasclr_core.cli.main import app; app()",
        *call(place, tmp_path, "a", "b", "c"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob("f.unfinished/[!.]*.npz")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "f.parquet").exists()
    done = len(list(tmp_path.glob("f.unfinished/[!.]*.npz")))
    assert done in (1, 2)
    result = embed(place, tmp_path, "a", "b", "c")
    assert (result.exit_code, states(result)) == (0, ["kept"] * done + ["ok"] * (3 - done))
    assert_whole(place, tmp_path)


def test_sigterm_keeps_what_is_done(place, tmp_path):
    command = [sys.executable, "-c", f"import os, signal\n{STOP_AFTER_FIRST}\napp()", *call(place, tmp_path, "a", "b")]
    assert subprocess.run(command, capture_output=True).returncode == 128 + signal.SIGTERM
    assert states(embed(place, tmp_path, "a", "b", "c")) == ["kept", "ok", "ok"]
    assert_whole(place, tmp_path)


STOP_AFTER_FIRST = """
from drasclr_core.cli.main import app
from drasclr_core.model.embed_append import GrowingTable
add = GrowingTable.add
def add_and_end(*arguments):
    add(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)
GrowingTable.add = add_and_end
"""


@pytest.mark.parametrize("renamed", [["f.landmarks.parquet"], [*TABLES]])
def test_a_call_killed_while_it_writes_loses_and_doubles_nothing(place, tmp_path, renamed):
    """The tables take their places one after the other, and the folder of the finished scans goes last."""
    assert embed(place, tmp_path, "a", "b").exit_code == 0
    before = contents(tmp_path)
    kept = tmp_path / "kept"
    command = [sys.executable, "-c", f"import shutil\n{KEEP_PARTS}", *call(place, tmp_path, "a", "b", "c"), str(kept)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    for name in set(TABLES) - set(renamed):
        (tmp_path / name).write_bytes(before[name])
    kept.rename(tmp_path / "f.unfinished")
    assert states(embed(place, tmp_path, "a", "b", "c")) == ["kept"] * 3
    assert_whole(place, tmp_path)


KEEP_PARTS = """
import sys
from drasclr_core.model import embed_append
from drasclr_core.cli.main import app
kept, remove = sys.argv.pop(), embed_append._remove
def keep(path):
    shutil.copytree(path, kept)
    remove(path)
embed_append._remove = keep
app()
"""


def test_a_table_is_extended_and_its_rows_are_not_made_again(place, tmp_path):
    assert embed(place, tmp_path, "a", "b", more=()).exit_code == 0  # by a call without --append
    means = pd.read_parquet(tmp_path / "f.parquet")
    means.loc[0, "f0"] = 123.0
    means.to_parquet(tmp_path / "f.parquet", index=False)
    result = embed(place, tmp_path, "b", "c", "a")
    assert (result.exit_code, states(result)) == (0, ["kept", "ok", "kept"])
    found = pd.read_parquet(tmp_path / "f.parquet")
    assert [name[-8] for name in found["scan"]] == ["a", "b", "c"]
    assert found.loc[0, "f0"] == 123.0
    expected = pd.read_parquet(place / "whole" / "f.parquet")
    pd.testing.assert_frame_equal(found.drop(columns="f0"), expected.drop(columns="f0"))


def test_the_content_tells_a_scan_not_its_name(place, tmp_path):
    for name in ("one", "two"):
        shutil.copy(place / "a.nii.gz", tmp_path / f"{name}.nii.gz")
    (tmp_path / "out").mkdir()
    result = embed(
        tmp_path, tmp_path / "out", "one", "two", more=("--append", "--model", str(place / "model"), "--json")
    )
    first, second = json.loads(result.stdout)["scans"]
    assert (first["status"], second["status"], result.exit_code) == ("ok", "kept", 0)
    assert second["reason"].endswith(f"f.parquet already, as of {tmp_path}/one.nii.gz")
    shutil.copy(place / "b.nii.gz", tmp_path / "one.nii.gz")
    result = embed(tmp_path, tmp_path / "out", "one", more=("--append", "--model", str(place / "model")))
    assert result.exit_code == 3
    assert "f.parquet has features of this name, of another content: rename the scan" in result.stdout
    assert len(pd.read_parquet(tmp_path / "out" / "f.parquet")) == 1


def test_what_was_done_for_another_list_is_kept_too(place, tmp_path):
    command = [sys.executable, "-c", f"import os, signal\n{STOP_AFTER_FIRST}\napp()", *call(place, tmp_path, "b")]
    assert subprocess.run(command, capture_output=True).returncode == 128 + signal.SIGTERM
    assert states(embed(place, tmp_path, "c", "a")) == ["ok", "ok"]
    assert [name[-8] for name in pd.read_parquet(tmp_path / "f.parquet")["scan"]] == ["b", "c", "a"]


@pytest.fixture
def tables(place, tmp_path):
    for name in TABLES:
        shutil.copy(place / "whole" / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (None, ["--features", "pooled"], "the features there are last, not pooled: give another output"),
        ("model", [], "the features there are of another model: give another output"),
        ("landmarks", [], "f.landmarks.parquet is missing"),
        ("row", [], "do not hold the same scans"),
        ("attrs", [], "does not say which scans it holds"),
        ("text", [], "is no Parquet file"),
    ],
)
def test_tables_that_cannot_be_added_to_are_refused_and_stay(place, tables, tmp_path, spoil, more, message):
    if spoil == "model":
        more = [
            "--model",
            str(write_scan_model(tmp_path / "other" / "model", preprocess={"axes": "LPS", "spacing_mm": 6.0})),
        ]
    elif spoil == "landmarks":
        (tables / "f.landmarks.parquet").unlink()
    elif spoil == "text":
        (tables / "f.parquet").write_text("scan,f0")
    elif spoil:
        means = pd.read_parquet(tables / "f.parquet")
        means = means.drop(index=1) if spoil == "row" else means
        means.attrs = {} if spoil == "attrs" else means.attrs
        means.to_parquet(tables / "f.parquet", index=False)
    before = {path.name: path.read_bytes() for path in tables.glob("f.*")}
    result = embed(place, tables, "a", more=("--append", *more))
    assert (result.exit_code, message in result.stderr) == (2, True), result.output
    assert {path.name: path.read_bytes() for path in tables.glob("f.*")} == before


def test_csv_cannot_be_added_to(place, tmp_path):
    result = embed(place, tmp_path, "a", more=("--append", "-o", str(tmp_path / "f.csv")))
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "--append needs .parquet" in result.stderr


def test_one_call_at_a_time(place, tmp_path):
    import fcntl

    (tmp_path / "f.unfinished").mkdir()
    with (tmp_path / "f.unfinished" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = embed(place, tmp_path, "a")
    assert (result.exit_code, "Another call adds to" in result.stderr) == (2, True)


def test_nothing_stays_where_all_are_refused(tmp_path, place):
    no_lungs(tmp_path / "bad.nii.gz")
    (tmp_path / "out").mkdir()
    result = embed(tmp_path, tmp_path / "out", "bad", more=("--append", "--model", str(place / "model")))
    assert (result.exit_code, list((tmp_path / "out").iterdir())) == (3, [])


def test_a_folder_of_somebody_else_is_left_alone(place, tmp_path):
    mine = tmp_path / "f.unfinished/thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = embed(place, tmp_path, "a")
    assert result.exit_code == 2
    assert "f.unfinished holds what no call of ours put there" in result.output
    assert mine.read_text() == "mine"
    shutil.move(mine.parent, tmp_path / "elsewhere")
    (tmp_path / "f.unfinished").symlink_to(tmp_path / "elsewhere")
    assert embed(place, tmp_path, "a").exit_code == 2
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("spoil", ["empty", "flipped", "list", "nan"])
def test_a_damaged_part_is_named_before_any_work(place, tmp_path, spoil):
    part = tmp_path / "f.unfinished" / f"{'0' * 64}.npz"
    part.parent.mkdir()
    model = load_model(place / "model")
    count, dim = len(model.grid), model.encoder.output_dim
    about = [1] if spoil == "list" else {"scan": "x", **about_model(model)}
    mean = np.full(dim, np.nan if spoil == "nan" else 0, np.float32)
    arrays = {"mean": mean, "landmarks": np.zeros((count, dim)), "valid": np.ones(count, bool)}
    np.savez(part, about=np.array(json.dumps(about)), **arrays, landmarks_mm=np.zeros((count, 3)))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= spoil == "flipped"
    part.write_bytes(b"" if spoil == "empty" else content)
    result = embed(place, tmp_path, "a")
    assert result.exit_code == 2
    assert f"{part.name} is damaged: remove it" in result.output
    assert not (tmp_path / "f.parquet").exists()
