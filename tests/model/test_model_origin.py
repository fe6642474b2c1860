"""What a model was trained on is recorded, and said wherever the model says something of a scan."""

import json

import nibabel
import pandas as pd
import pytest
from scan_model import SETTINGS, write_detectors, write_scan, write_scan_model
from typer.testing import CliRunner

from drasclr_core import load_model
from drasclr_core.cli.main import app
from drasclr_core.cohort.phantom_ids import phantom_ids
from drasclr_core.model.origin import origin_of, origin_warning, told_origin

TRAINED = {"training": {**SETTINGS.decisive(), "epochs": 2}}
ORIGINS = {
    "phantoms": {**TRAINED, "trained_on": {"phantoms": 40, "participants": 0}},
    "people": {**TRAINED, "trained_on": {"phantoms": 0, "participants": 1110}},
    "both": {**TRAINED, "trained_on": {"phantoms": 1, "participants": 2}},
    "published": {
        "training": {"seed": 0},
        "trained_on": {"published": "COPDGene, it is said"},
    },
    "untrained": {"training": {"epochs": 0}, "trained_on": {"phantoms": 40, "participants": 0}},
    "earlier version, phantoms": {**TRAINED, "participant_ids": phantom_ids(3, first=998)},
    "earlier version, people": {**TRAINED, "participant_ids": ["P1", "phantom-1"]},
    "nothing recorded": TRAINED,
}


@pytest.mark.parametrize(
    ("name", "told", "warning"),
    [
        (
            "phantoms",
            "40 synthetic phantoms",
            "trained on 40 synthetic phantoms: what it says of a real scan means",
        ),
        ("people", "1,110 participants", None),
        ("both", "1 synthetic phantom and 2 participants", None),
        ("published", "COPDGene, it is said", None),
        (
            "untrained",
            "nothing (its weights are the initial ones)",
            "untrained: what it says of a scan means nothing",
        ),
        ("earlier version, phantoms", "3 synthetic phantoms", "was trained on 3 synthetic phantoms"),
        ("earlier version, people", "2 participants", None),
        ("nothing recorded", "what is not recorded", "does not say what this encoder was trained on"),
    ],
)
def test_the_origin_in_words(name, told, warning):
    assert told_origin(ORIGINS[name]) == told
    found = origin_warning(ORIGINS[name])
    assert (found is None) if warning is None else (warning in found)


def test_phantoms_are_told_from_people_by_their_ids():
    ids = [*phantom_ids(2), "phantom-01", "phantom-0001", "phantom-000", "phantom-001b", "LIDC-IDRI-0001"]
    assert origin_of(ids) == {"phantoms": 2, "participants": 5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs with a model and detectors, one of phantoms and one of people, and a scan."""
    folder = tmp_path_factory.mktemp("origin")
    for name in ("phantoms", "people"):
        model = load_model(write_scan_model(folder / name / "model", **ORIGINS[name]))
        write_detectors(folder / name / "detector", model, centrilobular=[0.9], paraseptal=[0.6])
    write_scan(folder / "scan.nii.gz")
    return folder


def drasclr(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


WARNING = (
    "Warning: this encoder was trained on 40 synthetic phantoms: what it says of a real scan means nothing; it is for "
    "trying out only"
)


@pytest.mark.parametrize(("name", "warnings"), [("phantoms", [WARNING]), ("people", [])])
def test_a_call_warns_once_and_before_the_work(runs, tmp_path, name, warnings):
    scan, model = runs / "scan.nii.gz", ["--model", runs / name / "model"]
    embed = drasclr("embed", scan, *model, "-o", tmp_path / "f.parquet")
    detect = drasclr("detect", scan, *model, "-o", tmp_path / "m.nii.gz", "--stride", 32, "--json")
    for result in (embed, detect):
        assert [line for line in result.stderr.splitlines() if line.startswith("Warning")] == warnings
    told = json.loads(detect.stdout)["model"]
    assert told["trained_on"] == ("40 synthetic phantoms" if warnings else "1,110 participants")
    assert told["warnings"] == [warning.removeprefix("Warning: ") for warning in warnings]
    for path in ("f.parquet", "f.landmarks.parquet"):
        attrs = pd.read_parquet(tmp_path / path).attrs
        assert (attrs["trained_on"], attrs["warnings"]) == (told["trained_on"], told["warnings"])


@pytest.mark.parametrize(("name", "doubted"), [("phantoms", True), ("people", False)])
def test_what_phantoms_taught_is_not_told_of_a_scan_without_saying_so(runs, tmp_path, name, doubted):
    result = drasclr(
        *("detect", runs / "scan.nii.gz", "--model", runs / name / "model", "-o", tmp_path / "m.nii.gz", "--stride", 32)
    )
    figures = "centrilobular 100.0% of the lungs, paraseptal 100.0% of the lungs"
    doubt = "not to be believed, for the encoder was trained on 40 synthetic phantoms: "
    assert (doubt + figures in result.stdout) == doubted
    assert figures in result.stdout
    assert ("not to be believed" in result.stdout) == doubted
    note = nibabel.load(tmp_path / "m.nii.gz").header["descrip"].item().decode()
    assert note == (
        "not to be believed: encoder trained on 40 synthetic phantoms"
        if doubted
        else "encoder trained on 1,110 participants"
    )


def test_a_collapsed_training_is_told_too(tmp_path, runs):
    collapse = "the training collapsed: in 48 of 48 steps"
    write_scan_model(tmp_path / "model", **ORIGINS["people"], warnings=[collapse])
    result = drasclr("embed", runs / "scan.nii.gz", "--model", tmp_path / "model", "-o", tmp_path / "f.csv")
    assert f"Warning: {collapse}" in result.stderr


def test_the_library_warns_as_well(runs, caplog):
    load_model(runs / "phantoms" / "model").embed(runs / "scan.nii.gz")
    assert WARNING.removeprefix("Warning: ") in caplog.messages
    caplog.clear()
    load_model(runs / "people" / "model").embed(runs / "scan.nii.gz")
    assert not any("trained" in message for message in caplog.messages)


def test_a_model_shows_itself_in_one_line(runs):
    folder = runs / "phantoms" / "model"
    shown = repr(load_model(folder, features="pooled"))
    assert shown == (
        "<DrasCLR encoder: 952 features per landmark (pooled), 12 landmarks, voxels of 5 mm; trained on 40 synthetic "
        f"phantoms; from {folder}>"
    )
