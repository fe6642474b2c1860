"""A subject's readers: right file, read once, and only when asked for."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.atlas.patches import write_patches
from drasclr_core.atlas.registration import Registration, write_transform
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import Record, write_record


@pytest.fixture
def subject(tmp_path):
    """Return a subject with all stages on disk, each holding something that tells it apart."""
    for stage in ("ingest", "segment", "register", "patches"):
        (tmp_path / stage).mkdir()
        write_record(tmp_path / stage, Record("s1", stage, "ok", metrics={"stage": stage}))
    sitk.WriteImage(sitk.Image((4, 5, 6), sitk.sitkInt16) - 700, str(tmp_path / "ingest/ct.nii.gz"))
    sitk.WriteImage(sitk.Image((4, 5, 6), sitk.sitkUInt8) + 2, str(tmp_path / "segment/lungs.nii.gz"))
    shift = sitk.AffineTransform(3)
    shift.SetTranslation((1.0, 2.0, 3.0))
    write_transform(Registration(shift, {}), tmp_path / "register/atlas_to_subject.mat")
    hu = np.arange(2 * 64, dtype=np.int16).reshape(2, 4, 4, 4)
    write_patches(tmp_path / "patches/patches.zarr", hu, np.zeros((2, 3), np.int64), np.array([True, False]))
    return Subject("s1", tmp_path / "ingest", tmp_path / "segment", tmp_path / "register", tmp_path / "patches")


def test_readers_read_their_stage(subject):
    assert subject.ct[0, 0, 0] == -700
    assert subject.lungs[0, 0, 0] == 2
    assert subject.transform.TransformPoint((0.0, 0.0, 0.0)) == (1, 2, 3)
    assert subject.patches.ravel().tolist() == list(range(128))
    assert subject.valid.tolist() == [True, False]
    for stage in ("ingest", "segment", "register", "patches"):
        assert subject.record(stage).metrics == {"stage": stage}


def test_read_once_and_forgotten_by_a_copy(subject):
    first = subject.patches
    assert subject.patches is first
    assert replace(subject).patches is not first
    assert replace(subject) == subject


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    subject = Subject("s1", ingest=tmp_path / "nowhere", patches_folder=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"nowhere/patches\.zarr"):
        _ = subject.patches


def test_a_stage_that_was_left_out_is_named():
    subject = Subject("s1")
    with pytest.raises(InputError, match="s1: the folder of the stage segment is needed"):
        _ = subject.lungs
    with pytest.raises(InputError, match="pass it as patches_folder"):
        subject.record("patches")
