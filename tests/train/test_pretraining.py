from dataclasses import replace
from pathlib import Path

import pytest
from scan_model import PROVENANCE
from toy_bank import toy_bank

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.phantom_ids import phantom_ids
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.folder import load_model
from drasclr_core.train import job as pretraining
from drasclr_core.train.job import pretrain_to_folder


def test_only_a_training_of_the_same_folder_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bank.zarr").mkdir()
    (tmp_path / "bank.zarr" / "zarr.json").touch()
    works = []
    monkeypatch.setattr(pretraining, "open_bank", lambda path: toy_bank())
    monkeypatch.setattr(pretraining, "pretrain", lambda bank, settings, work, **_: works.append(work))  # None: stopped
    for model in ("runs/a/model", "runs/a/model", "runs/b/model"):
        assert not pretrain_to_folder("bank.zarr", "mask.nii.gz", Path(model), PretrainSettings(), {})
    assert works[0] == works[1]
    assert works[0] != works[2]


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return a function that runs one job on a bank of given patches, and how many trainings there have been."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mask.nii.gz").write_bytes(b"a mask")
    banks, trainings = [], []
    monkeypatch.setattr(pretraining, "open_bank", lambda path: banks.pop(0) if len(banks) > 1 else banks[0])
    real = pretraining.pretrain
    monkeypatch.setattr(
        pretraining, "pretrain", lambda *args, **more: trainings.append(1) or (None if stop else real(*args, **more))
    )
    stop = []

    def run(*patches, stopped=False, **settings):
        banks[:] = [replace(toy_bank(), sha256=each) for each in patches]
        stop[:] = [True] * stopped
        small = {"epochs": 0, "feature_dim": 8, "num_experts": 2, "cpu_threads": 1, "device": "cpu", **settings}
        return pretrain_to_folder("bank.zarr", "mask.nii.gz", Path("model"), PretrainSettings(**small), PROVENANCE)

    return run, trainings


def content(folder=Path("model")):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_what_has_been_trained_is_not_trained_again(job):
    run, trainings = job
    assert run("same")
    made = content()
    assert "SHA256SUMS" in made
    Path("model/SHA256SUMS").unlink()  # Snakemake does so before it starts a job
    assert run("same", cpu_threads=1, log_steps=1)  # upkeep decides nothing
    assert len(trainings) == 1
    assert content() == made


def test_of_several_processes_one_alone_writes_the_sums_again(job, monkeypatch):
    run, trainings = job
    assert run("same")
    Path("model/SHA256SUMS").unlink()
    monkeypatch.setenv("RANK", "1")
    assert run("same")
    assert not Path("model/SHA256SUMS").exists()
    assert len(trainings) == 1


@pytest.mark.parametrize("damaged", ["encoder.safetensors", "landmarks.json", "lung_mask.nii.gz", "model.json"])
def test_a_damaged_model_is_trained_again(job, damaged):
    run, trainings = job
    assert run("same")
    made = content()
    for spoil in (Path.unlink, lambda path: path.write_bytes(made[damaged][:-1])):
        spoil(Path("model", damaged))
        assert run("same")
        assert content() == made
    assert len(trainings) == 3


def test_a_model_says_what_it_was_trained_on(job, monkeypatch):
    run, _ = job
    assert run("people")
    assert load_model("model").description["trained_on"] == {"phantoms": 0, "participants": 8}
    phantoms = replace(toy_bank(), participant_ids=phantom_ids(8))
    monkeypatch.setattr(pretraining, "open_bank", lambda path: replace(phantoms, sha256="phantoms"))
    settings = PretrainSettings(epochs=0, feature_dim=8, num_experts=2, cpu_threads=1, device="cpu")
    assert pretrain_to_folder("bank.zarr", "mask.nii.gz", Path("phantoms"), settings, PROVENANCE)
    assert load_model("phantoms").description["trained_on"] == {"phantoms": 8, "participants": 0}


def test_other_settings_or_patches_are_another_training(job):
    run, trainings = job
    assert run("same")
    assert run("other")
    assert run("other", seed=1)
    assert len(trainings) == 3


def test_an_old_model_stays_until_the_new_one_is_there(job):
    run, _ = job
    assert run("same")
    Path("model/SHA256SUMS").unlink()
    made = content()
    assert not run("other", stopped=True)
    assert content() == made
    assert load_model("model").description["made_from"]


def test_a_bank_built_anew_under_a_training_is_noticed(job):
    run, _ = job
    assert run("same")
    made = content()
    with pytest.raises(InputError, match=r"bank\.zarr was built anew during the training"):
        run("before", "after")
    assert content() == made
