from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from scan_model import PROVENANCE
from toy_bank import toy_bank, toy_grid

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import read_json
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.methods.drasclr import build
from drasclr_core.model import embed_bank as embedding
from drasclr_core.model.embed_bank import embed_bank, embed_locations, embed_patches, embed_to_folder, subject_features
from drasclr_core.model.encoder import normalise_hu
from drasclr_core.model.folder import load_model, save_model
from drasclr_core.train.loop import initial_encoder

SETTINGS = PretrainSettings(epochs=0, feature_dim=8, num_experts=2)


class ToySubject:
    """What `Subject` reads, taken from the toy bank."""

    def __init__(self, bank, place):
        self.participant_id = bank.participant_ids[place]
        self.patches, self.valid = bank.hu[:, place], bank.valid[:, place]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    atlas = folder.parent / "atlas.nii.gz"
    atlas.write_bytes(b"a mask, which is copied only")
    save_model(folder, initial_encoder(SETTINGS).eval(), toy_grid(), SETTINGS, PROVENANCE, atlas)
    return folder


@pytest.fixture
def some_invalid():
    valid = np.ones((4, 8), bool)
    valid[2, 3] = valid[0, 3] = False
    return toy_bank(valid=valid)


def test_every_patch_meets_its_own_landmarks_code(model, monkeypatch):
    monkeypatch.setattr(embedding, "BATCH", 3)  # 8 subjects: two whole batches and a rest
    bank, encoder = toy_bank(), load_model(model).encoder
    rows = list(embed_bank(bank, encoder))
    for landmark in range(4):
        patch = normalise_hu(torch.from_numpy(bank.hu[landmark, 5:6]))[:, None]
        with torch.no_grad():
            expected = encoder(patch, torch.tensor(bank.grid.codes[landmark], dtype=torch.float32))
        np.testing.assert_allclose(rows[landmark][5], expected[0], rtol=0, atol=1e-5)


def test_patches_of_many_locations_each_meet_their_own(model, monkeypatch):
    monkeypatch.setattr(embedding, "LOCATIONS", 3)  # 4 landmarks: three together and one alone
    bank, encoder = toy_bank(), load_model(model).encoder
    codes = torch.from_numpy(bank.grid.codes).float()
    together = embed_locations(bank.hu[:, 2], codes, encoder)
    alone = [embed_patches(bank.hu[landmark, 2:3], code, encoder)[0] for landmark, code in enumerate(codes)]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def test_the_mean_leaves_out_invalid_landmarks_by_hand():
    features = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    valid = np.array([[True, False], [True, True], [True, False]])
    assert subject_features(features, valid).tolist() == [[2, 3], [8, 9]]


def test_a_subject_without_valid_landmark_is_refused():
    with pytest.raises(InputError, match=r"\[1\]"):
        subject_features(np.zeros((2, 1, 3), np.float32), np.array([[True, False]]))


def test_one_subject_at_a_time_gives_the_features_of_the_bank(model, some_invalid, monkeypatch, tmp_path):
    monkeypatch.setattr(embedding, "open_bank", lambda path: some_invalid)
    embed_to_folder("bank", model, tmp_path / "features", features="last", threads=1)
    table = pd.read_parquet(tmp_path / "features" / "features.parquet").set_index("participant_id")
    assert (table.pop("fold") == -1).all()
    method = build({"model": str(model)})
    for place in (0, 3):
        own = method.embed(ToySubject(some_invalid, place))
        assert own.dtype == np.float32
        np.testing.assert_allclose(table.loc[f"s{place}"], own, rtol=0, atol=1e-5)


def test_the_store_tells_subjects_landmarks_and_validity(model, some_invalid, monkeypatch, tmp_path):
    monkeypatch.setattr(embedding, "open_bank", lambda path: some_invalid)
    embed_to_folder("bank", model, tmp_path / "features", features="last", threads=1)
    store = zarr.open_group(tmp_path / "features" / "landmarks.zarr", mode="r")
    assert store.attrs["participant_ids"] == some_invalid.participant_ids
    assert store["features"].shape == (8, 4, 8)
    np.testing.assert_array_equal(store["valid"][:], some_invalid.valid.T)
    np.testing.assert_array_equal(store["landmarks_mm"][:], toy_grid().points_mm)


def test_the_table_is_sorted_by_participant_and_each_row_is_its_own(model, monkeypatch, tmp_path):
    bank = toy_bank()
    tables = {}
    for name, ids in (("sorted", "abcdefgh"), ("mixed", "dhacgbfe")):
        monkeypatch.setattr(embedding, "open_bank", lambda path, ids=ids: replace(bank, participant_ids=list(ids)))
        embed_to_folder("bank", model, tmp_path / name, features="last", threads=1)
        tables[name] = pd.read_parquet(tmp_path / name / "features.parquet")
        assert tables[name]["participant_id"].tolist() == list("abcdefgh")
    ordered, mixed = (tables[name].drop(columns=["participant_id", "fold"]).to_numpy() for name in ("sorted", "mixed"))
    np.testing.assert_array_equal(mixed, ordered[[2, 5, 3, 0, 7, 6, 4, 1]])  # of the place where each id stands


def test_last_is_the_first_columns_of_pooled(model, some_invalid, monkeypatch, tmp_path):
    monkeypatch.setattr(embedding, "open_bank", lambda path: some_invalid)
    found = {}
    for features in ("last", "pooled"):
        embed_to_folder("bank", model, tmp_path / features, features=features, threads=1)
        table = pd.read_parquet(tmp_path / features / "features.parquet").drop(columns=["participant_id", "fold"])
        store = zarr.open_group(tmp_path / features / "landmarks.zarr", mode="r")
        found[features] = table.to_numpy(), store["features"][:]
        record = read_json(tmp_path / features / "record.json")
        assert (record["features"], record["model"]["architecture"]["feature_dim"]) == (features, 8)
        assert list(table) == [f"f{i}" for i in range({"last": 8, "pooled": 952}[features])]
    for last, pooled in zip(found["last"], found["pooled"], strict=True):
        np.testing.assert_array_equal(pooled[..., :8], last)
        assert pooled[..., 8:].std(axis=0).min() > 0


def test_a_model_of_other_landmarks_is_refused(model, monkeypatch, tmp_path):
    bank = toy_bank()
    moved = toy_grid()
    moved.points_mm[0] += 0.5
    monkeypatch.setattr(embedding, "open_bank", lambda path: replace(bank, grid=moved))
    with pytest.raises(InputError, match="other landmarks"):
        embed_to_folder("bank", model, tmp_path / "features", features="last", threads=1)
