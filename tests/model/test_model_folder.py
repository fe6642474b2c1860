import json
import subprocess
from typing import get_args

import pytest
import torch
from scan_model import PROVENANCE, write_scan_model
from toy_bank import toy_grid

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import read_json, write_json
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.encoder import Conditioning
from drasclr_core.model.files import ATLAS, DESCRIPTION, DETECTOR, LANDMARKS, SUMS, WEIGHTS, is_made_from
from drasclr_core.model.folder import load_model, load_model_to, save_model
from drasclr_core.train.loop import initial_encoder


def saved(folder, **changes):
    settings = PretrainSettings(**{"feature_dim": 8, "num_experts": 2, **changes})
    encoder = initial_encoder(settings).eval()
    atlas = folder.parent / "atlas.nii.gz"
    atlas.write_bytes(b"a mask")
    save_model(folder, encoder, toy_grid(), settings, PROVENANCE, atlas)
    return encoder


def without_sums(folder):
    """Make of a folder one as earlier versions wrote it."""
    (folder / SUMS).unlink()
    return folder


@pytest.mark.parametrize("conditioning", get_args(Conditioning))
def test_what_was_saved_is_loaded(tmp_path, conditioning):
    encoder = saved(tmp_path, conditioning=conditioning)
    model = load_model(tmp_path)
    assert not model.encoder.training
    for (name, a), b in zip(encoder.state_dict().items(), model.encoder.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert model.grid.to_json() == toy_grid().to_json()
    assert model.description["preprocess"] == PROVENANCE["preprocess"]
    assert model.description["training"]["conditioning"] == conditioning


def test_equal_encoders_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION, LANDMARKS, ATLAS])
def test_a_folder_that_lacks_a_file_is_named(tmp_path, name):
    saved(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"it has no {name}"):
        load_model(tmp_path)


def test_the_sums_are_those_of_sha256sum(tmp_path):
    saved(tmp_path)
    checked = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout.count(": OK")) == (0, 4)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION, LANDMARKS, ATLAS])
def test_a_file_that_was_changed_is_refused(tmp_path, name):
    saved(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{name} is not the file that was written"):
        load_model(tmp_path)


def test_a_file_without_a_sum_is_refused(tmp_path):
    saved(tmp_path)
    sums = (tmp_path / SUMS).read_text().splitlines(keepends=True)
    (tmp_path / SUMS).write_text("".join(sums[1:]))
    with pytest.raises(InputError, match=f"{WEIGHTS} .* says nothing of it"):
        load_model(tmp_path)


def test_a_folder_of_an_earlier_version_is_accepted_with_a_warning(tmp_path, caplog):
    saved(tmp_path)
    load_model(without_sums(tmp_path))
    assert "its files are not checked" in caplog.text


def test_truncated_weights_are_refused_without_sums(tmp_path):
    saved(tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=WEIGHTS):
        load_model(without_sums(tmp_path))


@pytest.mark.parametrize(
    "change",
    [{"num_experts": 3}, {"num_experts": "two"}, {"layers": 3}],
)
def test_weights_of_another_architecture_are_refused(tmp_path, change):
    saved(tmp_path)
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    description["architecture"] |= change
    (tmp_path / DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(InputError, match="does not hold the encoder|architecture"):
        load_model(without_sums(tmp_path))


@pytest.mark.parametrize("name", [DESCRIPTION, LANDMARKS])
def test_a_description_that_is_no_json_is_refused(tmp_path, name):
    saved(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match=f"{name} is damaged"):
        load_model(without_sums(tmp_path))


def test_the_weights_have_the_permissions_of_the_other_files(tmp_path):
    saved(tmp_path)
    assert (tmp_path / WEIGHTS).stat().st_mode == (tmp_path / DESCRIPTION).stat().st_mode


def test_a_folder_beside_the_right_one_is_told_which_to_give(tmp_path):
    for name in ("run/model", "run/detector/centrilobular"):
        (tmp_path / name).mkdir(parents=True)
    saved(tmp_path / "run" / "model")
    (tmp_path / "run" / "detector" / "centrilobular" / DETECTOR).write_text("{}")
    for name, told in {
        "run": f"It is a run: give {tmp_path}/run/model",
        "run/detector": "It holds detectors: give the model that they were trained from",
        "run/detector/centrilobular": "It holds detectors",
        "nowhere": "There is no such folder",
        ".": "Give `model` of a training's run",
    }.items():
        with pytest.raises(InputError, match=f"is not a model folder: .*{told}"):
            load_model(tmp_path / name)


def test_a_model_is_read_either_way(tmp_path):
    encoder = saved(tmp_path)
    x, p = torch.randn(2, 1, 32, 32, 32), torch.zeros(3)
    for features, found in {
        "last": load_model(tmp_path),
        "pooled": load_model_to(tmp_path, "cpu", features="pooled"),
    }.items():
        encoder.features = features
        with torch.no_grad():
            assert torch.equal(found.encoder(x, p), encoder(x, p))
        assert found.provenance["features"] == {"features": features}
    with pytest.raises(InputError, match="no features 'first': give last or pooled"):
        load_model(tmp_path, features="first")


def test_a_gpu_that_is_not_there_is_refused(tmp_path, monkeypatch):
    saved(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert load_model_to(tmp_path, "auto").encoder.device == torch.device("cpu")
    with pytest.raises(InputError, match="PyTorch finds no GPU here: give cpu or auto"):
        load_model_to(tmp_path, "cuda")


def test_a_description_that_was_changed_while_its_sums_were_away_is_no_longer_that_of_the_training(tmp_path):
    folder = write_scan_model(tmp_path / "model", made_from="abc")
    (folder / SUMS).unlink()  # as Snakemake does before the job
    assert is_made_from(folder, "abc")
    assert not is_made_from(folder, "abd")
    description = read_json(folder / DESCRIPTION)
    write_json(folder / DESCRIPTION, {**description, "registration": {"spacing_mm": 8.0, "min_dice": 0.0}})
    assert not is_made_from(folder, "abc")
    write_json(folder / DESCRIPTION, {name: value for name, value in description.items() if name != "digest"})
    assert is_made_from(folder, "abc")  # of an earlier version
