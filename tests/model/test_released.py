import numpy as np
import pytest
import torch
from reference import released_model
from test_features import by_hand

from drasclr_core.base.errors import InputError
from drasclr_core.model.encoder import Encoder
from drasclr_core.model.released import load_released_encoder, released_names


def relative_error(ours, theirs):
    theirs = np.asarray(theirs)
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


def save_checkpoint(path, weights, prefix="module."):
    torch.save({"state_dict": {prefix + name: torch.tensor(array) for name, array in weights.items()}}, path)
    return path


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_features_and_projections_are_the_released_ones(tmp_path, prefix):
    _, weights, inputs, expected = released_model()
    encoder = load_released_encoder(save_checkpoint(tmp_path / "checkpoint.pth.tar", weights, prefix))
    with torch.no_grad():
        h = encoder(torch.tensor(inputs["query"]), torch.tensor(inputs["mixed"]))
        z = encoder.head(h)
    assert relative_error(h, expected["eval_h"]) < 1e-5
    assert relative_error(z, expected["eval_z"]) < 1e-5


def test_its_earlier_layers_are_read_on_request(tmp_path):
    encoder = load_released_encoder(random_checkpoint(tmp_path / "c.pt"))
    x, p = torch.randn(2, 1, 32, 32, 32), torch.tensor([0.5, -1.0, 0.2])
    expected = torch.cat(by_hand(encoder, x, p), dim=1)
    encoder.features = "pooled"
    torch.testing.assert_close(encoder.at(p)(x), expected, rtol=0, atol=1e-5)


def random_checkpoint(path, change=lambda state: None):
    state = Encoder(num_experts=2).state_dict()
    state = {f"module.encoder_q.{theirs}": state[ours] for ours, theirs in released_names().items()}
    change(state)
    torch.save({"state_dict": state}, path)
    return path


def test_names_cover_the_whole_encoder():
    assert set(released_names()) == set(Encoder(num_experts=2).state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("module.encoder_q.bn4.weight"), "missing .*bn4.weight"),
        (lambda s: s.update({"module.encoder_q.extra": torch.zeros(1)}), "unexpected .*extra"),
        (lambda s: s.update({"module.encoder_q.conv2.bias": torch.zeros(7)}), "does not fit"),
    ],
)
def test_a_checkpoint_that_differs_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        load_released_encoder(random_checkpoint(tmp_path / "c.pt", change))


class Evil:
    def __reduce__(self):
        return (open, ("evil", "w"))


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, tmp_path / "c.pt")
    with pytest.raises(InputError, match="cannot be read"):
        load_released_encoder(tmp_path / "c.pt")
    assert not (tmp_path / "evil").exists()


def test_a_file_without_state_dict_is_refused(tmp_path):
    torch.save({"model": {}}, tmp_path / "c.pt")
    with pytest.raises(InputError, match="no 'state_dict'"):
        load_released_encoder(tmp_path / "c.pt")
