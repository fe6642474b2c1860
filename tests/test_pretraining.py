from pathlib import Path

from toy_bank import toy_bank

from drasclr_core import pretraining
from drasclr_core.pretraining import pretrain_to_folder
from drasclr_core.settings import PretrainSettings


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
