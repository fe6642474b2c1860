"""The folder that holds a trained encoder and all it takes to use it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from drasclr_core import __version__
from drasclr_core.encoder import Encoder
from drasclr_core.errors import InputError
from drasclr_core.io import read_json, write_json
from drasclr_core.landmarks import LandmarkGrid
from drasclr_core.settings import PretrainSettings

WEIGHTS, DESCRIPTION, LANDMARKS = "encoder.safetensors", "model.json", "landmarks.json"


@dataclass(frozen=True)
class Model:
    """A trained encoder, in evaluation mode, and where in the atlas it looks.

    Attributes
    ----------
    encoder : Encoder
    grid : LandmarkGrid
        Landmarks, location codes, patch convention.
    description : dict
        ``model.json``: architecture, preprocessing, settings, versions.
    """

    encoder: Encoder
    grid: LandmarkGrid
    description: dict[str, Any]


def save_model(
    folder: Path, encoder: Encoder, grid: LandmarkGrid, settings: PretrainSettings, provenance: dict[str, Any]
) -> None:
    """Write weights, landmarks and description into an existing folder.

    The weights file holds tensors alone: its metadata would have no fixed order, and equal trainings give equal
    bytes. `provenance` (preprocessing, config hash, participants) goes into the description as it is.
    """
    save_file({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / LANDMARKS, grid.to_json())
    architecture = {
        "feature_dim": settings.feature_dim,
        "num_experts": settings.num_experts,
        "conditioning": settings.conditioning,
    }
    training = settings.decisive()
    versions = {"drasclr": __version__}
    write_json(
        folder / DESCRIPTION,
        {"architecture": architecture, "training": training, "versions": versions, **provenance},
    )


def load_model(folder: str | Path) -> Model:
    """Return the model that `save_model` wrote.

    Raises
    ------
    InputError
        If a file is missing, cut short, or does not fit the description.
    """
    folder = Path(folder)
    for name in (WEIGHTS, DESCRIPTION, LANDMARKS):
        if not (folder / name).exists():
            raise InputError(f"{folder} is not a model folder: it has no {name}.")
    description = read_json(folder / DESCRIPTION)
    encoder = Encoder(**description["architecture"])
    try:
        encoder.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{folder / WEIGHTS} does not hold the encoder that {DESCRIPTION} describes: {error}"
        ) from error
    return Model(encoder.eval(), LandmarkGrid.from_json(read_json(folder / LANDMARKS)), description)
