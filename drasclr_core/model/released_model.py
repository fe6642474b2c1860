"""The published weights as a model folder, by the released conventions."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk

from drasclr_core.atlas.landmark_files import load_corners
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_directory, file_sha256
from drasclr_core.base.paths import check_name, check_writable
from drasclr_core.model.encoder import Encoder
from drasclr_core.model.files import ATLAS
from drasclr_core.model.folder import write_model
from drasclr_core.model.origin import TRAINED_ON
from drasclr_core.model.released import load_released_encoder
from drasclr_core.scan.files import read_file
from drasclr_core.scan.images import without_text, write_image

NEIGHBOURS = 3
REGISTRATION = {"spacing_mm": 4.0, "min_dice": 0.7}
PATCHES = {"max_invalid_fraction": 0.1}
"""As in config/copdgene.yaml: the cohort that the weights were trained on."""
ORIGIN = "COPDGene, if this is the published checkpoint"
_ATLAS_LIMITS_L = (1.0, 15.0)  # of both lungs, breathed in


def import_released(
    checkpoint: str | Path,
    atlas: str | Path,
    landmarks: str | Path,
    folder: str | Path,
    *,
    segmentation: Literal["lungmask", "threshold"] = "lungmask",
) -> LandmarkGrid:
    """Make a model folder of a published checkpoint.

    Parameters
    ----------
    checkpoint : path
        As of `released.load_released_encoder`.
    atlas : path
        The published lung mask; its axes and spacing become those of every scan that the model reads.
    landmarks : path
        The published landmarks: patch corners, as of `landmark_files.load_corners`, used as they are.
    folder : path
        To write; there must be none yet.
    segmentation : "lungmask" or "threshold"
        How the lungs of scans are found.

    Returns
    -------
    LandmarkGrid

    Raises
    ------
    InputError
        If a file cannot be read or is not what it should be, they do not fit together, or the folder exists or cannot
        be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists: name a new folder.")
    check_writable(folder)
    encoder, mask = load_released_encoder(checkpoint), _read_mask(Path(atlas))
    grid = LandmarkGrid.build(mask, convention="released", corners=load_corners(landmarks), neighbours=NEIGHBOURS)
    description = _description(encoder, grid, segmentation, file_sha256(checkpoint))
    with tempfile.TemporaryDirectory(prefix="drasclr-") as work, atomic_directory(folder) as partial:
        write_image(mask, Path(work) / ATLAS)
        write_model(partial, encoder, grid, description, Path(work) / ATLAS)
    return grid


def _read_mask(path: Path) -> sitk.Image:
    check_name(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file: give the atlas lung mask.")
    mask = without_text(read_file(path))
    array = sitk.GetArrayViewFromImage(mask)
    values = np.unique(array)
    if values[0] != 0 or len(values) not in (2, 3):
        raise InputError(
            f"{path} is no lung mask: it holds {len(values)} values from {values[0]:g} to {values[-1]:g}, wanted are 0 "
            "outside and one or two values above it, of the lungs: give the atlas lung mask."
        )
    held_l = np.count_nonzero(array) * float(np.prod(mask.GetSpacing())) * 1e-6
    lowest, highest = _ATLAS_LIMITS_L
    if not lowest <= held_l <= highest:
        raise InputError(
            f"{path}: its lungs hold {held_l:.3g} l, those of an atlas {lowest:g} to {highest:g} l: give the atlas "
            "lung mask, and check the spacing in its header."
        )
    return mask


def _description(encoder: Encoder, grid: LandmarkGrid, segmentation: str, sha256: str) -> dict[str, Any]:
    first: Any = encoder.convs[0]
    experts = len(first.weight)
    axes = "".join(pair[sign < 0] for pair, sign in zip(("LR", "PA", "SI"), grid.direction, strict=True))
    return {
        "architecture": {"feature_dim": encoder.feature_dim, "num_experts": experts, "conditioning": "location"},
        TRAINED_ON: {"published": ORIGIN},
        "training": {"released_checkpoint_sha256": sha256, "seed": 0},
        "preprocess": {"axes": axes, "spacing_mm": grid.spacing_mm},
        "segmentation": {"method": segmentation, "weights": None},
        "registration": REGISTRATION,
        "patches": PATCHES,
    }
