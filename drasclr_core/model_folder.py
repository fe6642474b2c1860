"""The folder that holds a trained encoder and all it takes to use it."""

import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from drasclr_core import __version__
from drasclr_core.documents import raise_faults, schema_faults
from drasclr_core.encoder import FEATURES, PATCH_SIZE, Encoder
from drasclr_core.errors import InputError
from drasclr_core.images import read_image
from drasclr_core.io import atomic_path, file_sha256, read_json, write_json
from drasclr_core.landmarks import LandmarkGrid
from drasclr_core.paths import check_name
from drasclr_core.settings import Features, PretrainSettings

if TYPE_CHECKING:
    from drasclr_core.embedding_scan import ScanFeatures

logger = logging.getLogger(__name__)

WEIGHTS, DESCRIPTION, LANDMARKS, ATLAS = "encoder.safetensors", "model.json", "landmarks.json", "lung_mask.nii.gz"
SUMS = "SHA256SUMS"
"""The sha256 of the four others, as ``sha256sum --check`` reads them."""
COPY_AGAIN = "Copy the whole folder again; where a workflow made it, remove it, and the same command makes it again."
DETECTOR = "detector.json"
"""What a folder of detectors holds in place of the others."""

_PARTS = (WEIGHTS, DESCRIPTION, LANDMARKS, ATLAS)
_MOST_CODE = 10.0  # in the atlas codes are within 1
_DESCRIBED = (WEIGHTS, LANDMARKS, ATLAS)


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
        told = {name: self.sums[name] for name in _DESCRIBED}
        return {"sha256": told, "preprocess": self.description.get("preprocess")}

    @property
    def warnings(self) -> list[str]:
        """What a user must know of its training, such as a collapse."""
        return list(self.description.get("warnings", []))

    @property
    def provenance(self) -> dict[str, Any]:
        """What an evaluation says of it: ``warnings``; ``features``, which ``features`` of the encoder it read."""
        return {"warnings": self.warnings, "features": {"features": self.encoder.features}}

    def embed(self, scan: str | Path, *, lung_weights: str | Path | None = None) -> "ScanFeatures":
        """Return the features of one scan; see `embedding_scan.embed_scan`."""
        from drasclr_core.embedding_scan import embed_scan  # it imports this module

        return embed_scan(self, scan, lung_weights=lung_weights)


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
    told = {"versions": {"drasclr": __version__}, "sha256": _sums(folder, _DESCRIBED)}
    write_json(folder / DESCRIPTION, {**description, **told})
    write_sums(folder)


def is_made_from(folder: Path, made_from: str) -> bool:
    """Return whether a folder holds, undamaged, the model with this ``made_from`` in its description; sums may lack."""
    try:
        description = _read(folder / DESCRIPTION)
        if description.get("made_from") != made_from or description["sha256"] != _sums(folder, _DESCRIBED):
            return False
        if (folder / SUMS).is_file():
            _checked_sums(folder)
    except (FileNotFoundError, InputError):
        return False
    return True


def _sums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in names}


def write_sums(folder: Path) -> None:
    """Write the sums of a whole model folder."""
    with atomic_path(folder / SUMS) as partial:
        lines = [f"{sum_}  {name}\n" for name, sum_ in _sums(folder, _PARTS).items()]
        partial.write_text("".join(lines), encoding="utf-8")


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
    for name in _PARTS:
        if not (folder / name).is_file():
            raise InputError(f"{folder} is not a model folder: it has no {name}. {_instead_of(folder)}")
    sums = _checked_sums(folder)
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


def _instead_of(folder: Path) -> str:
    """Say which folder was meant, of those that the workflow puts side by side."""
    if not folder.exists():
        return "There is no such folder: give `model` of a training's run."
    if (folder / "model" / DESCRIPTION).is_file():
        return f"It is a run: give {folder / 'model'}."
    if any(folder.glob(DETECTOR)) or any(folder.glob(f"*/{DETECTOR}")):
        return "It holds detectors: give the model that they were trained from, in the workflow `model` beside them."
    return "Give `model` of a training's run, the whole folder."


def _checked_sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file, once they are those that were written."""
    found = _sums(folder, _PARTS)
    if not (folder / SUMS).is_file():
        why = "it is of an earlier version, or another training is to replace it"
        logger.warning("%s has no %s (%s): its files are not checked.", folder, SUMS, why)
        return found
    lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, sum_ in found.items():
        if sum_ != expected.get(name):
            raise InputError(
                f"{folder / name} is not the file that was written: its sha256 is {sum_}, {SUMS} says "
                f"{expected.get(name, 'nothing of it')}. {COPY_AGAIN}"
            )
    return found


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
