"""What docs/own_scans.md promises: its example, many scans by one command, the same features however one is stored."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scan_model import no_lungs, write_scan, write_scan_model
from typer.testing import CliRunner
from volumes import image_like, saved, thorax, write_dicom

from drasclr_core.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "own_scans.md").read_text(encoding="utf-8")
ODD = {"Spacing": (5.0001234, 5.0001234, 4.9876543), "Origin": (-151.2345678, -110.7654321, 20.1234567)}
SINGLE_PRECISION = 0.01  # of the features' spread; docs/own_scans.md has what was measured


def write_scans(folder):
    """Write one scan in many ways, another whose geometry single precision cannot hold, and one that is refused."""
    ct = thorax((5.0, 5.0, 5.0), seed=1).ct
    odd = image_like(ct, sitk.GetArrayFromImage(ct), **ODD)
    coronal = sitk.Flip(sitk.PermuteAxes(ct, (0, 2, 1)), (True, False, True))
    return [
        saved(ct, folder / "scan.nrrd"),
        saved(coronal, folder / "coronal.nii.gz"),
        write_dicom(folder / "series", ct)[0].parent,
        no_lungs(folder / "bad.nii.gz"),
        saved(odd, folder / "odd.nrrd"),
        saved(odd, folder / "odd.nii"),
    ]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The finished command on all scans, and the features of every landmark, (L, D), by the scan's name."""
    folder = tmp_path_factory.mktemp("own")
    model, scans = write_scan_model(folder / "model"), write_scans(folder)
    command = [sys.executable, "-c", "from drasclr_core.cli.main import app; app()", "embed", *scans, "--model", model]
    done = subprocess.run([*command, "-o", folder / "f.parquet", "--json"], capture_output=True, text=True)
    table = pd.read_parquet(folder / "f.landmarks.parquet")
    features = {Path(scan).name: rows.filter(regex=r"^f\d").to_numpy() for scan, rows in table.groupby("scan")}
    return done, features


def test_standard_output_is_json_alone_and_one_bad_scan_costs_no_other(embedded):
    done, features = embedded
    assert done.returncode == 3, done.stderr
    content = json.loads(done.stdout)  # whatever the libraries print
    states = {Path(scan["scan"]).name: scan["status"] for scan in content["scans"]}
    assert states == {**dict.fromkeys(features, "ok"), "bad.nii.gz": "refused"}
    assert len(features) == 5
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["coronal.nii.gz", "series"])
def test_the_same_voxels_give_the_same_features(embedded, name):
    _, features = embedded
    assert (features[name] == features["scan.nrrd"]).all()


def test_a_header_in_single_precision_costs_little(embedded):
    _, features = embedded
    spread = features["odd.nrrd"].std(axis=0).mean()
    assert np.abs(features["odd.nii"] - features["odd.nrrd"]).max() < SINGLE_PRECISION * spread
    assert np.abs(features["odd.nrrd"] - features["scan.nrrd"]).max() > 0  # another scan


def test_the_examples_in_python_run(tmp_path, monkeypatch, capsys):
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    write_scan_model(tmp_path / "model")
    write_scan(tmp_path / "patient.nii.gz")
    monkeypatch.chdir(tmp_path)
    kept = []
    names = {"paths": ["patient.nii.gz", "none.nii.gz"], "keep": lambda *result: kept.append(result)}
    for example in examples:
        exec(compile(example, "docs/own_scans.md", "exec"), names)
    assert names["features"].mean.shape == (8,)
    ((path, mean),) = kept
    assert (path, mean.tolist()) == ("patient.nii.gz", names["features"].mean.tolist())
    assert capsys.readouterr().out.splitlines()[-1].startswith("none.nii.gz: no such file")


def test_the_exit_statuses_of_the_page_are_those_of_the_command():
    told = re.findall(r"^\| ([\d, ]+) \| (\w+)", PAGE, re.MULTILINE)
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert [status for status, _ in told] == ["0", "1", "2", "3", "129, 130, 143"]
    for status, words in told:
        assert re.search(rf"{status}: {words}", shown), status
