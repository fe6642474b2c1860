"""The folder that holds a trained encoder and all it takes to use it."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.documents import raise_faults, schema_faults
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import file_sha256, read_json, write_json
from drasclr_core.base.paths import check_name
from drasclr_core.base.version import __version__
from drasclr_core.config.settings import Features, PretrainSettings
from drasclr_core.model.encoder import FEATURES, PATCH_SIZE, Encoder
from drasclr_core.model.files import (
    ATLAS,
    COPY_AGAIN,
    DESCRIBED,
    DESCRIPTION,
    LANDMARKS,
    PARTS,
    SELF,
    WEIGHTS,
    checked_sums,
    instead_of,
    self_digest,
    sums_of,
    write_sums,
)
from drasclr_core.model.origin import origin_warning, told_origin
from drasclr_core.scan.images import read_image

_MOST_CODE = 10.0  # in the atlas codes are within 1


@dataclass(frozen=True, repr=False)
class Model:
    """A trained encoder, in evaluation mode, and where in the atlas it looks.

    Attributes
    ----------
    encoder : Encoder
    grid : LandmarkGrid
        Landmarks, location codes, patch convention.
    description : dict
        ``model.json``: architecture, preprocessing, settings, versions.
    folder : path, optional
        Where it was loaded from, an absolute path.
    sums : dict, optional
        File of the folder -> its sha256 when it was loaded.
    """

    encoder: Encoder
    grid: LandmarkGrid
    description: dict[str, Any]
    folder: Path | None = None
    sums: dict[str, str] | None = None

    def __repr__(self) -> str:
        encoder, grid = self.encoder, self.grid
        size = f"{encoder.output_dim} features per landmark ({encoder.features})"
        place = f"{len(grid)} landmarks, voxels of {grid.spacing_mm:g} mm"
        return f"<DrasCLR encoder: {size}, {place}; trained on {self.trained_on}; from {self.folder}>"

    @cached_property
    def atlas(self) -> sitk.Image:
        """The lung mask that scans are registered to, read once.

        Raises
        ------
        InputError
            If the model was not loaded from a folder, or the folder now holds another mask.
        """
        if self.folder is None or self.sums is None:
            raise InputError("The model was not loaded from a folder, so its atlas is not known: use load_model.")
        path = self.folder / ATLAS
        if not path.is_file() or file_sha256(path) != self.sums[ATLAS]:
            raise InputError(f"{path} is no longer the file that the model was loaded with: load the model again.")
        return read_image(path)

    @property
    def identity(self) -> dict[str, Any] | None:
        """What tells it from other models, as JSON: ``sha256`` of three of its files, ``preprocess``."""
        if self.sums is None:
            return None
        told = {name: self.sums[name] for name in DESCRIBED}
        return {"sha256": told, "preprocess": self.description.get("preprocess")}

    @property
    def warnings(self) -> list[str]:
        """What a user must know of its training, such as a collapse."""
        return list(self.description.get("warnings", []))

    @property
    def trained_on(self) -> str:
        """What it was trained on, in a few words: "40 synthetic phantoms"."""
        return told_origin(self.description)

    @property
    def origin_warning(self) -> str | None:
        """Why nothing of what it says of a scan is to be believed: that it has seen phantoms alone, say."""
        return origin_warning(self.description)

    @property
    def scan_warnings(self) -> list[str]:
        """What must be said beside whatever it says of a scan."""
        return [*([self.origin_warning] if self.origin_warning else []), *self.warnings]

    @property
    def provenance(self) -> dict[str, Any]:
        """What an evaluation says of it: ``warnings``; ``features``, which ``features`` of the encoder it read."""
        return {"warnings": self.warnings, "features": {"features": self.encoder.features}}


def save_model(
    folder: Path,
    encoder: Encoder,
    grid: LandmarkGrid,
    settings: PretrainSettings,
    provenance: dict[str, Any],
    atlas_mask: str | Path,
) -> None:
    """Write what a training made into an existing folder.

    `provenance` (preprocessing, config hash, participants) goes into the description as it is; `atlas_mask` is copied.
    """
    architecture = {
        "feature_dim": settings.feature_dim,
        "num_experts": settings.num_experts,
        "conditioning": settings.conditioning,
        "head_norm": settings.head_norm,
    }
    description = {"architecture": architecture, "training": settings.decisive(), **provenance}
    write_model(folder, encoder, grid, description, atlas_mask)


def write_model(
    folder: Path, encoder: Encoder, grid: LandmarkGrid, description: dict[str, Any], atlas_mask: str | Path
) -> None:
    """Write weights, landmarks, atlas and description into an existing folder, and last their sums.

    The weights file holds tensors alone: its metadata would have no fixed order, and equal trainings give equal
    bytes. The version is added to the description.
    """
    # Not by save_file: nobody else could read what it writes.
    tensors = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors))
    write_json(folder / LANDMARKS, grid.to_json())
    shutil.copyfile(atlas_mask, folder / ATLAS)
    told = {**description, "versions": {"drasclr": __version__}, "sha256": sums_of(folder, DESCRIBED)}
    write_json(folder / DESCRIPTION, {**told, SELF: self_digest(told)})
    write_sums(folder)


def load_model(folder: str | Path, features: Features = "last") -> Model:
    """Return the model that `write_model` wrote.

    A folder without sums, of an earlier version, is accepted with a warning.

    Parameters
    ----------
    folder : path
    features : "last", "pooled" or "middle"
        Which of the encoder's features are read, as of `encoder.Encoder`: every model has both.

    Raises
    ------
    InputError
        If there are no such features, the folder's name is not UTF-8, or a file is missing, is not the one that was
        written, or does not fit the description.
    """
    if features not in FEATURES:
        raise InputError(f"There are no features {features!r}: give {' or '.join(FEATURES)}.")
    folder = Path(folder).resolve()
    check_name(folder)
    for name in PARTS:
        if not (folder / name).is_file():
            raise InputError(f"{folder} is not a model folder: it has no {name}. {instead_of(folder)}")
    sums = checked_sums(folder)
    description = _read(folder / DESCRIPTION)
    raise_faults(str(folder / DESCRIPTION), schema_faults(description, "model"))
    try:
        encoder = Encoder(**description["architecture"])
        encoder.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{folder / WEIGHTS} does not hold the encoder that {DESCRIPTION} describes: {error}"
        ) from error
    if not all(bool(tensor.isfinite().all()) for tensor in encoder.state_dict().values()):
        raise InputError(f"{folder / WEIGHTS} holds NaN or infinity: its training diverged; give another model.")
    encoder.features = features
    return Model(encoder.eval(), _read_grid(folder / LANDMARKS), description, folder, sums)


def load_model_to(folder: str | Path, device: str, threads: int | None = None, features: Features = "last") -> Model:
    """Return a model on the device where to compute.

    Parameters
    ----------
    folder : path
        Of the model.
    device : "auto", "cpu" or "cuda"
        "auto" takes a GPU where there is one.
    threads : int, optional
        Of a computation on the CPU, whose last bits depend on it; without it PyTorch's own choice.
    features : "last", "pooled" or "middle"
        As of `load_model`.

    Raises
    ------
    InputError
        As of `load_model`; or if there is no GPU that was asked for.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise InputError("The device is cuda, but PyTorch finds no GPU here: give cpu or auto.")
    model = load_model(folder, features)
    model.encoder.to(("cuda" if found else "cpu") if device == "auto" else device)
    return model


def _read_grid(path: Path) -> LandmarkGrid:
    """Return the landmarks, once they are such as an encoder can look at."""
    content = _read(path)
    try:
        grid = LandmarkGrid.from_json(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    numbers = np.concatenate([grid.points_mm.ravel(), grid.codes.ravel()])
    if grid.patch_size != PATCH_SIZE:
        raise InputError(
            f"{path}: patch_size is {grid.patch_size}, but the encoder takes {PATCH_SIZE}: give its landmarks."
        )
    if not np.isfinite(numbers).all() or np.abs(grid.codes).max() > _MOST_CODE:
        raise InputError(
            f"{path}: a point or code is no number, or a code beyond {_MOST_CODE:g}: copy the folder again."
        )
    return grid


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}). {COPY_AGAIN}") from error
