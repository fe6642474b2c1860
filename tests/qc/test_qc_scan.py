"""`drasclr qc --picture`: the picture of one scan, also of one that is refused."""

import numpy as np
import pytest
from PIL import Image
from scan_model import write_model_and_scans
from typer.testing import CliRunner

from drasclr_core.cli.main import app
from drasclr_core.qc.canvas import text_width


def qc(*arguments):
    return CliRunner().invoke(app, ["qc", *map(str, arguments)])


def width(path):
    with Image.open(path) as image:
        image.load()
        return image.width


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_model_and_scans(tmp_path_factory.mktemp("scans"))


def test_a_picture_with_a_model_has_its_atlas(place, tmp_path):
    alone, placed = tmp_path / "alone.png", tmp_path / "placed.png"
    assert qc(place / "good.nii.gz", "--picture", alone).exit_code == 0
    result = qc(place / "good.nii.gz", "--picture", placed, "--model", place / "model")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [f"picture: {placed}"]
    assert width(placed) > width(alone)


def test_a_refused_scan_is_drawn_as_far_as_it_came(place, tmp_path):
    result = qc(place / "bad.nii.gz", "--picture", tmp_path / "bad.png")
    assert (result.exit_code, "refused: no lung found" in result.stdout) == (3, True)
    with Image.open(tmp_path / "bad.png") as image:
        line = np.asarray(image.convert("L"))[:28]
    assert line[:, text_width("refused: ") :].any()  # the reason follows


def test_a_scan_that_cannot_be_read_leaves_no_other_ones_picture(place, tmp_path):
    (tmp_path / "scan.png").write_bytes(b"an older one")
    empty = tmp_path / "empty.nii.gz"
    empty.touch()
    result = qc(empty, "--picture", tmp_path / "scan.png")
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 1)
    assert list(tmp_path.iterdir()) == [empty]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--picture", "x.jpg"], "give .png"),
        (["bad.nii.gz", "--picture", "x.png"], "draws one scan, not 2"),
        (["--lung-weights", "r231.pth"], "give --model too"),
    ],
)
def test_a_call_that_cannot_be_done_is_told(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    result = qc("good.nii.gz", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
