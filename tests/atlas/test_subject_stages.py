"""A patient with a single lung is registered by it, and only where the atlas tells its lungs apart."""

import numpy as np
import pytest
from volumes import image_like, thorax

from drasclr_core.atlas.registration import read_transform
from drasclr_core.atlas.stages import register
from drasclr_core.base.errors import QualityError
from drasclr_core.scan.images import write_image

RIGHT, LEFT = 1, 2
ATLAS = thorax((5.0, 5.0, 5.0))
SETTINGS = {"spacing_mm": 8.0, "min_dice": 0.8, "seed": 0}


def registered(folder, lungs, atlas=ATLAS.lungs):
    """Register a mask (z, y, x) of the simple thorax; return the metrics and the transform."""
    write_image(image_like(ATLAS.ct, lungs.astype(np.uint8)), folder / "lungs.nii.gz")
    metrics = register(folder, image_like(ATLAS.ct, atlas.astype(np.uint8)), folder, **SETTINGS)
    return metrics, read_transform(folder / "atlas_to_subject.mat")


@pytest.mark.parametrize("atlas", [ATLAS.lungs, ATLAS.lungs * 50], ids=["our labels", "those of the published atlas"])
@pytest.mark.parametrize(("side", "name", "x_mm"), [(RIGHT, "right", -60.0), (LEFT, "left", 60.0)])
def test_a_single_lung_finds_its_side_of_the_atlas(tmp_path, side, name, x_mm, atlas):
    lungs = np.where(ATLAS.lungs == side, side, 0)
    other = np.argwhere(ATLAS.lungs == 3 - side)
    lungs[tuple(other[:: len(other) // 20].T)] = 3 - side  # voxels that a network takes for the other lung
    metrics, transform = registered(tmp_path, lungs, atlas)
    assert metrics["registered_lungs"] == name
    assert metrics["dice"] > 0.95
    for point in ((x_mm, -20.0, 140.0), (x_mm, 10.0, 100.0), (x_mm, -40.0, 180.0)):
        assert np.linalg.norm(np.subtract(transform.TransformPoint(point), point)) < 5.0


def test_two_lungs_are_registered_together(tmp_path):
    metrics, _ = registered(tmp_path, ATLAS.lungs)
    assert metrics["registered_lungs"] == "both"


def test_an_atlas_that_does_not_tell_its_lungs_apart_leaves_it_to_dice(tmp_path):
    with pytest.raises(QualityError, match=r"dice is 0\.[4-7]"):
        registered(tmp_path, np.where(ATLAS.lungs == RIGHT, RIGHT, 0), ATLAS.lungs > 0)
    assert not (tmp_path / "atlas_to_subject.mat").exists()
