"""The published atlas, landmarks and weights as a model folder, against the published facts."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from reference import published_grid, released_model
from test_features import by_hand
from typer.testing import CliRunner
from volumes import image_like, saved

from drasclr_core.atlas.patches import check_volume
from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.model.embed_scan import ScanReader
from drasclr_core.model.encoder import Encoder
from drasclr_core.model.files import DESCRIPTION
from drasclr_core.model.folder import load_model
from drasclr_core.model.released import released_names
from drasclr_core.model.released_model import import_released
from drasclr_core.scan.images import read_image


def small_checkpoint(path):
    state = Encoder(num_experts=2).state_dict()
    state = {f"module.encoder_q.{theirs}": state[ours] for ours, theirs in released_names().items()}
    torch.save({"state_dict": state}, path)
    return path


@pytest.fixture
def small(tmp_path):
    """Return a checkpoint, an atlas with axes L, A, S, and corners in it."""
    array = np.zeros((70, 71, 72), np.uint8)
    array[1:, 1:, 1:36], array[1:, 1:, 36:] = 50, 100
    mask = sitk.GetImageFromArray(array)
    mask.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    mask.SetSpacing((2.0, 2.0, 2.0))
    corners = np.array([[0, 0, 0], [26, 0, 0], [0, 26, 26], [26, 26, 26]])
    np.save(tmp_path / "corners.npy", corners)
    saved(mask, tmp_path / "mask.nrrd")
    return small_checkpoint(tmp_path / "c.pt"), tmp_path / "mask.nrrd", tmp_path / "corners.npy"


def test_the_published_files_become_a_model(tmp_path):
    settings, weights, inputs, expected = released_model()
    torch.save({"state_dict": {f"module.{n}": torch.tensor(a) for n, a in weights.items()}}, tmp_path / "c.pt")
    mask, corners = published_grid()
    atlas, landmarks = saved(mask, tmp_path / "atlas.nii.gz"), tmp_path / "landmarks.npy"
    np.save(landmarks, corners)
    import_released(tmp_path / "c.pt", atlas, landmarks, tmp_path / "model")
    model = load_model(tmp_path / "model")
    with torch.no_grad():
        h = model.encoder(torch.tensor(inputs["query"]), torch.tensor(inputs["mixed"]))
    assert np.abs(h.numpy() - expected["eval_h"]).max() < 1e-5 * np.abs(expected["eval_h"]).max()
    pooled = load_model(tmp_path / "model", features="pooled").encoder
    x, p = torch.tensor(inputs["query"]), torch.tensor(inputs["mixed"])
    with torch.no_grad():
        found = pooled(x, p)
    assert torch.equal(found[:, :128], h)
    torch.testing.assert_close(found[:, 128:], by_hand(model.encoder, x, p)[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.grid.codes, corners / corners.max(0) * 2 - 1, atol=1e-12)
    assert len(model.grid) == 581
    assert model.description["preprocess"] == {"axes": "LAS", "spacing_mm": 1.0}
    assert read_image(tmp_path / "model/lung_mask.nii.gz").GetSize() == (387, 387, 319)


def test_a_small_model_has_the_conventions_of_its_atlas(tmp_path, small):
    import_released(*small, tmp_path / "model", segmentation="threshold")
    model = load_model(tmp_path / "model")
    assert model.description["preprocess"] == {"axes": "LAS", "spacing_mm": 2.0}
    assert model.grid.convention == "released"
    assert model.trained_on == "COPDGene, if this is the published checkpoint"
    assert model.scan_warnings == []
    assert model.grid.points_mm.tolist() == [[0, 0, 0], [52, 0, 0], [0, -52, 52], [52, -52, 52]]
    assert ScanReader.of(model).lung_weights is None
    check_volume(model.grid, read_image(tmp_path / "model/lung_mask.nii.gz"))


def test_the_command_says_what_it_made(tmp_path, small):
    checkpoint, atlas, landmarks = map(str, small)
    arguments = ["import-released", checkpoint, "--atlas", atlas, "--landmarks", landmarks, "-o", str(tmp_path / "m")]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (
        0,
        f"{tmp_path / 'm'}: 4 landmarks, voxels of 2 mm, lungs by lungmask\n",
    )
    assert json.loads((tmp_path / "m" / DESCRIPTION).read_text())["segmentation"]["method"] == "lungmask"
    again = CliRunner().invoke(app, arguments)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "exists: name a new folder" in again.stderr


@pytest.mark.parametrize("folder", [".", "mask.nrrd/model"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path, small, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    small[0].unlink()
    with pytest.raises(InputError, match=r"^\. exists: name a new folder|^mask\.nrrd/model cannot be written"):
        import_released(*small, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: 0 * array, r"mask\.nrrd is no lung mask: it holds 1 values from 0 to 0"),
        (lambda array: array + 1, "holds 3 values from 1 to 101"),
        (lambda array: array.astype(np.int16) * 10 - 1000, "holds 3 values from -1000 to 0"),
        (lambda array: array + np.arange(72, dtype=np.uint8), "holds 122 values from 0 to 171"),
        (lambda array: np.where(np.arange(72) < 3, array, 0), "its lungs hold 0.0773 l, those of an atlas 1 to 15 l"),
    ],
)
def test_what_is_no_lung_mask_is_refused(tmp_path, small, change, message):
    mask = sitk.ReadImage(str(small[1]))
    saved(image_like(mask, change(sitk.GetArrayFromImage(mask))), small[1])
    with pytest.raises(InputError, match=message):
        import_released(*small, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        (0, b"not a checkpoint", "cannot be read as a checkpoint"),
        (1, None, "no such file: give the atlas"),
        (1, b"NRRD0004\n", "mask.nrrd"),
        (2, b"not an array", r"not a readable \.npy"),
        (2, b"", r"corners\.npy is not a readable \.npy"),
        (2, b"PK\x03\x04", r"corners\.npy is not a readable \.npy"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(tmp_path, small, place, content, message):
    small[place].unlink()
    if content is not None:
        small[place].write_bytes(content)
    with pytest.raises(InputError, match=message):
        import_released(*small, tmp_path / "model")
    assert not (tmp_path / "model").exists()
