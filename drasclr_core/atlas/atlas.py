"""The atlas: a lung mask and the landmark grid on it."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from drasclr_core.atlas.landmark_files import load_corners
from drasclr_core.atlas.landmarks import Convention, LandmarkGrid
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import LUNGS, RECORD, atomic_path, read_record, write_json
from drasclr_core.scan.files import read_file
from drasclr_core.scan.images import read_image, without_text, write_image


def read_atlas_mask(source: str | Path, spacing_mm: float) -> sitk.Image:
    """Return the lung mask that is to be the atlas.

    Parameters
    ----------
    source : path
        A participant's segmentation folder, or a mask file (above 0 is lung).
    spacing_mm : float
        Voxel edge that the subjects' volumes have, and the atlas must have.

    Raises
    ------
    InputError
        If the participant is excluded, the file cannot be read, or the spacing differs.
    """
    source = Path(source)
    if (source / RECORD).exists():
        record = read_record(source)
        if record.excluded:
            raise InputError(
                f"The atlas participant {record.participant_id} is excluded ({record.reason}): choose another."
            )
        mask = read_image(source / LUNGS)
    else:
        mask = without_text(read_file(source))
    if not np.allclose(mask.GetSpacing(), spacing_mm, rtol=1e-4):
        raise InputError(
            f"{source} has voxels of {mask.GetSpacing()} mm, but preprocess.spacing_mm is {spacing_mm}: resample it."
        )
    return mask


def write_atlas(mask: sitk.Image, path: str | Path) -> None:
    """Write the atlas mask."""
    with atomic_path(path) as partial:
        write_image(mask, partial)


def write_landmarks(
    mask: sitk.Image,
    path: str | Path,
    corners: str | Path | None = None,
    *,
    step: int,
    min_lung_fraction: float,
    neighbours: int,
    convention: Convention,
) -> None:
    """Lay the landmark grid on an atlas mask and write it; the parameters are those of `LandmarkGrid.build`.

    `corners` is a landmark file to use instead of the grid (`landmark_files.load_corners`).
    """
    grid = LandmarkGrid.build(
        mask,
        step=step,
        min_lung_fraction=min_lung_fraction,
        neighbours=neighbours,
        convention=convention,
        corners=None if corners is None else load_corners(corners),
    )
    write_json(path, grid.to_json())
