"""One scan through all stages in one process, against the stages and the bank of the workflow."""

import json

import numpy as np
import pandas as pd
import pytest
import zarr
from scan_model import no_lungs, write_scan, write_scan_model

from drasclr_core import load_model
from drasclr_core.atlas.bank import build_bank
from drasclr_core.atlas.stages import cut, ingest, register, segment
from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.base.files import run_subject_stage
from drasclr_core.model import embed_scan as embedding_scan
from drasclr_core.model.embed_bank import embed_to_folder
from drasclr_core.model.embed_scan import ScanFeatures, ScanReader, check_lungs
from drasclr_core.model.embed_tables import feature_tables, landmarks_path, write_tables
from drasclr_core.model.folder import Model
from drasclr_core.scan.images import read_image


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    write_scan_model(folder / "model")
    write_scan(folder / "scan.nii.gz", seed=1, scale=1.1)
    return folder


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Return where temporary folders are made."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def through_the_stages(place, folder):
    """Return features (L, D) and the mean (D,) as the workflow makes them: a folder per stage, a bank."""
    scan, model = place / "scan.nii.gz", place / "model"
    atlas, grid = read_image(model / "lung_mask.nii.gz"), load_model(model).grid
    stages = {name: folder / name for name in ("ingest", "segment", "register", "patches")}
    work = {
        "ingest": lambda at: ingest(scan, at, spacing_mm=5.0, axes="LPS"),
        "segment": lambda at: segment(stages["ingest"], scan, at, weights=None),
        "register": lambda at: register(stages["segment"], atlas, at, spacing_mm=8.0, min_dice=0.8, seed=0),
        "patches": lambda at: cut(stages["ingest"], stages["register"], grid, at, max_invalid_fraction=0.2),
    }
    for stage, do in work.items():
        assert run_subject_stage(stages[stage], stage, "s", [], do).status == "ok"
    build_bank([stages["patches"]], ["s"], folder / "bank.zarr", grid=grid, memory_gb=1)
    embed_to_folder(folder / "bank.zarr", model, folder / "features", features="last", threads=1)
    store = zarr.open_group(folder / "features" / "landmarks.zarr", mode="r")
    means = pd.read_parquet(folder / "features" / "features.parquet")
    return store["features"][0], means.drop(columns=["participant_id", "fold"]).to_numpy()[0]


def test_features_are_those_of_the_stages_and_nothing_stays_behind(place, tmp_path, temporary):
    found = load_model(place / "model").embed(place / "scan.nii.gz")
    landmarks, mean = through_the_stages(place, tmp_path / "stages")
    np.testing.assert_allclose(found.landmarks, landmarks, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-5)
    assert found.landmarks.std(axis=0).min() > 1e-4
    assert found.valid.all()
    assert found.metrics["register"]["dice"] > 0.9
    assert found.metrics["register"]["determinant"] == pytest.approx(1.1**3, rel=0.05)
    assert list(temporary.iterdir()) == []


def test_a_model_is_used_from_any_folder(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    model = load_model("model")
    monkeypatch.chdir(tmp_path)
    assert model.embed(place / "scan.nii.gz").valid.all()


def test_an_atlas_that_was_replaced_since_is_refused(place, tmp_path):
    model = load_model(write_scan_model(tmp_path / "model"))
    (tmp_path / "model" / "lung_mask.nii.gz").write_bytes(b"another")
    with pytest.raises(InputError, match=r"lung_mask\.nii\.gz is no longer the file that the model was loaded with"):
        model.embed(place / "scan.nii.gz")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_lungs_are_found_where_the_model_computes(place, monkeypatch, device):
    def stop(*places, on_cpu, **settings):
        raise RuntimeError(f"on_cpu={on_cpu}")

    model = load_model(place / "model")
    model.encoder.to(device)  # "meta" stands for a GPU: there is none here
    monkeypatch.setattr(embedding_scan, "segment", stop)
    with pytest.raises(RuntimeError, match=f"on_cpu={device == 'cpu'}"):
        model.embed(place / "scan.nii.gz")


def test_landmarks_are_those_that_were_loaded(place, tmp_path):
    model = load_model(write_scan_model(tmp_path / "model"))
    (tmp_path / "model" / "landmarks.json").write_text("{}")
    assert len(model.embed(place / "scan.nii.gz").landmarks) == len(model.grid)


def test_a_scan_without_lungs_is_refused_and_leaves_nothing(place, tmp_path, temporary):
    with pytest.raises(QualityError, match="no lung"):
        load_model(place / "model").embed(no_lungs(tmp_path / "no.nii.gz"))
    assert list(temporary.iterdir()) == []


def test_a_scan_that_cannot_be_read_is_refused(place, tmp_path):
    (tmp_path / "scan.nii.gz").write_text("text")
    with pytest.raises(InputError, match="content is not"):
        load_model(place / "model").embed(tmp_path / "scan.nii.gz")


def test_the_limits_are_the_models_own(tmp_path, place):
    strict = write_scan_model(tmp_path / "model", registration={"spacing_mm": 8.0, "min_dice": 0.9999})
    with pytest.raises(QualityError, match=r"dice is .*, allowed 0\.9999"):
        ScanReader.of(load_model(strict)).check(place / "scan.nii.gz", lambda step: None)


def test_a_check_without_a_model_measures_the_lungs(place):
    metrics = check_lungs(place / "scan.nii.gz", lambda step: None)
    assert set(metrics) == {"ingest", "segment"}
    assert metrics["segment"]["lung_l"] == pytest.approx(1.1**3 * 2.5, rel=0.1)


def test_a_model_that_does_not_say_how_to_read_is_refused(place):
    model = load_model(place / "model")
    del model.description["registration"]
    with pytest.raises(InputError, match=r"model\.json does not say 'registration'"):
        ScanReader.of(model)
    with pytest.raises(InputError, match="not loaded from a folder"):
        ScanReader.of(Model(model.encoder, model.grid, model.description))


def test_a_model_of_lungmask_asks_for_its_weights(place, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = load_model(place / "model")
    model.description["segmentation"] = {"method": "lungmask", "weights": "elsewhere.pth"}
    with pytest.raises(InputError, match=rf"{tmp_path}/drasclr/lungmask-r231\.pth: no such .*fetch-weights"):
        ScanReader.of(model)
    with pytest.raises(InputError, match="mine.pth: no such"):
        ScanReader.of(model, "mine.pth")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_tables_by_hand(place, tmp_path, suffix):
    landmarks = np.arange(4, dtype=np.float32).reshape(2, 2)
    points_mm = np.array([[1.0, 2, 3], [4, 5, 6]])
    one = ScanFeatures(landmarks[0], landmarks, np.array([True, False]), points_mm, {})
    two = ScanFeatures(landmarks[1], landmarks + 10, np.array([True, True]), points_mm, {})
    sums_of_scans = {"a.nii": "0" * 64, "b/c": "1" * 64}
    tables = feature_tables({"a.nii": one, "b/c": two}, load_model(place / "model"), sums_of_scans)
    write_tables(tables, tmp_path / f"f{suffix}")
    read = pd.read_parquet if suffix == ".parquet" else pd.read_csv
    means, each = read(tmp_path / f"f{suffix}"), read(landmarks_path(tmp_path / f"f{suffix}"))
    assert means.to_dict("list") == {"scan": ["a.nii", "b/c"], "f0": [0, 2], "f1": [1, 3]}
    assert each.columns.tolist() == ["scan", "landmark", "valid", "x_mm", "y_mm", "z_mm", "f0", "f1"]
    assert each.iloc[1].tolist() == ["a.nii", 1, False, 4, 5, 6, 2, 3]
    assert each["f0"].tolist() == [0, 2, 10, 12]
    if suffix == ".parquet":
        sums = (place / "model" / "SHA256SUMS").read_text()
        assert means.attrs["features"] == "last"
        assert means.attrs["scan_sha256"] == sums_of_scans
        assert f"{means.attrs['model_sha256']}  encoder.safetensors" in sums
        assert json.dumps(means.attrs) == json.dumps(each.attrs)
