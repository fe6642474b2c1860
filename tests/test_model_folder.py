from typing import get_args

import pytest
import torch
from toy_bank import toy_grid

from drasclr_core.encoder import Conditioning
from drasclr_core.errors import InputError
from drasclr_core.model_folder import DESCRIPTION, LANDMARKS, WEIGHTS, load_model, save_model
from drasclr_core.settings import PretrainSettings
from drasclr_core.training import initial_encoder


def saved(folder, **changes):
    settings = PretrainSettings(**{"feature_dim": 8, "num_experts": 2, **changes})
    encoder = initial_encoder(settings).eval()
    save_model(folder, encoder, toy_grid(), settings, {"preprocess": {"spacing_mm": 1.0}})
    return encoder


@pytest.mark.parametrize("conditioning", get_args(Conditioning))
def test_what_was_saved_is_loaded(tmp_path, conditioning):
    encoder = saved(tmp_path, conditioning=conditioning)
    model = load_model(tmp_path)
    assert not model.encoder.training
    for (name, a), b in zip(encoder.state_dict().items(), model.encoder.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert model.grid.to_json() == toy_grid().to_json()
    assert model.description["preprocess"] == {"spacing_mm": 1.0}
    assert model.description["training"]["conditioning"] == conditioning


def test_equal_encoders_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION, LANDMARKS])
def test_a_folder_that_lacks_a_file_is_named(tmp_path, name):
    saved(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"it has no {name}"):
        load_model(tmp_path)


def test_truncated_weights_are_refused(tmp_path):
    saved(tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=WEIGHTS):
        load_model(tmp_path)


def test_weights_of_another_architecture_are_refused(tmp_path):
    saved(tmp_path)
    text = (tmp_path / DESCRIPTION).read_text()
    (tmp_path / DESCRIPTION).write_text(text.replace('"num_experts": 2', '"num_experts": 3', 1))
    with pytest.raises(InputError, match="does not hold the encoder"):
        load_model(tmp_path)
