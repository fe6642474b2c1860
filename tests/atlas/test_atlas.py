import gzip
import json

import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.atlas.atlas import read_atlas_mask, write_atlas, write_landmarks
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.base.files import run_subject_stage
from drasclr_core.scan.images import write_image

SETTINGS = {"step": 26, "min_lung_fraction": 0.1, "neighbours": 2, "convention": "centre"}


def box(spacing_mm=2.0):
    array = np.zeros((70, 70, 70), np.uint8)
    array[5:65, 5:65, 5:65] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing_mm] * 3)
    return image


def segmented(folder, problem=None):
    def work(partial):
        if problem:
            raise QualityError(problem)
        write_image(box(), partial / "lungs.nii.gz")
        return {}

    run_subject_stage(folder, "segment", "s1", [], work)
    return folder


def test_a_participant_becomes_the_atlas(tmp_path):
    mask = read_atlas_mask(segmented(tmp_path / "s1"), 2.0)
    write_atlas(mask, tmp_path / "mask.nii.gz")
    write_landmarks(mask, tmp_path / "landmarks.json", **SETTINGS)
    grid = LandmarkGrid.from_json(json.loads((tmp_path / "landmarks.json").read_text()))
    assert len(grid) == 8  # corners 0 and 26 along each axis
    assert grid.points_mm[0].tolist() == [31, 31, 31]  # 15.5 voxels of 2 mm
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_atlas_mask(tmp_path / "mask.nii.gz", 2.0)), sitk.GetArrayFromImage(box())
    )


def test_a_landmark_file_is_used_verbatim(tmp_path):
    corners = np.array([[1, 2, 3], [30, 5, 6], [4, 31, 32]])
    np.save(tmp_path / "corners.npy", corners)
    write_landmarks(box(), tmp_path / "l.json", tmp_path / "corners.npy", **SETTINGS)
    points = json.loads((tmp_path / "l.json").read_text())["points_mm"]
    np.testing.assert_allclose(points, 2 * (corners + 15.5))


def test_an_excluded_participant_cannot_be_the_atlas(tmp_path):
    folder = segmented(tmp_path / "s1", problem="no lung")
    with pytest.raises(InputError, match=r"s1 is excluded \(no lung\): choose another"):
        read_atlas_mask(folder, 2.0)


def test_an_atlas_of_another_spacing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"preprocess.spacing_mm is 1\.0"):
        read_atlas_mask(segmented(tmp_path / "s1"), 1.0)


def test_the_text_of_a_masks_header_goes_no_further(tmp_path):
    image = box()
    image.SetMetaData("ITK_FileNotes", "drawn by a person")
    sitk.WriteImage(image, str(tmp_path / "given.nii.gz"))
    assert b"drawn by" in gzip.decompress((tmp_path / "given.nii.gz").read_bytes())
    write_atlas(read_atlas_mask(tmp_path / "given.nii.gz", 2.0), tmp_path / "mask.nii.gz")
    assert b"drawn by" not in gzip.decompress((tmp_path / "mask.nii.gz").read_bytes())
