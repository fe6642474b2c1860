"""Drawing many subjects: one that cannot be drawn stops none, and a broken machine all."""

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from volumes import saved, thorax

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.registration import Registration, write_transform
from drasclr_core.base.files import LUNGS, TRANSFORM, Record, write_json, write_record
from drasclr_core.qc import subjects as qc_subjects
from drasclr_core.qc.rows import read_rows
from drasclr_core.qc.subjects import SubjectFiles, draw_subjects, read_atlas

SEGMENT = {"lung_l": 2.5, "right_lung_l": 1.3, "left_lung_l": 1.2, "laa950_pct": 4.0, "mean_lung_hu": -860.0}
REGISTER = {"dice": 0.93, "determinant": 1.1, "centroid_distance_mm": 2.0, "rotation_deg": 3.0}
BEFORE_GATE = {"lung_l", "right_lung_l", "left_lung_l", *REGISTER}
"""What is known of a subject that the same stage refuses."""


class Cohort:
    """Subjects on disk, as far as they came."""

    def __init__(self, folder):
        self.folder = folder
        made = thorax((6.0, 6.0, 6.0))
        self.ct, self.lungs = made.ct, sitk.GetImageFromArray(made.lungs)
        self.lungs.CopyInformation(made.ct)
        saved(self.lungs, folder / "atlas.nii.gz")
        write_json(folder / "landmarks.json", LandmarkGrid.build(self.lungs, patch_size=8, step=6).to_json())
        self.atlas = read_atlas(folder / "atlas.nii.gz", folder / "landmarks.json")

    def subject(self, name, excluded_by=None, with_scan=True):
        files = SubjectFiles(name, *(self.folder / name / part for part in ("ct.nii.gz", "segment", "register")))
        for folder in (files.segment, files.register):
            folder.mkdir(parents=True)
        if with_scan:
            saved(self.ct, files.scan)
        stages = ["table", "ingest", "segment", "register", None]
        found, placed = (stages.index(excluded_by) > stages.index(stage) for stage in ("segment", "register"))
        self._stage(files.segment, name, excluded_by, found, SEGMENT | {"warnings": ["small"]})
        self._stage(files.register, name, excluded_by, placed, REGISTER)
        if found:
            saved(self.lungs, files.segment / LUNGS)
        if placed:
            write_transform(Registration(sitk.AffineTransform(3), {}), files.register / TRANSFORM)
        return files

    def _stage(self, folder, name, excluded_by, passed, metrics):
        known = BEFORE_GATE if excluded_by == folder.name else ()
        refused = {measure: value for measure, value in metrics.items() if measure in known}
        state = ("ok", None, None, metrics) if passed else ("excluded", excluded_by, "why", refused)
        write_record(folder, Record(name, folder.name, *state))


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def drawn(cohort, *subjects):
    draw_subjects(subjects, cohort.atlas, cohort.folder / "qc" / "0")
    return {row.participant_id: row for row in read_rows(cohort.folder / "qc" / "0", cohort.folder / "qc.html")}


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_picture_and_the_figures_of_each(cohort):
    rows = drawn(cohort, cohort.subject("a"), cohort.subject("b", "register"), cohort.subject("c", "segment"))
    assert rows["a"].measures == {
        "volume_l": 2.5,
        "right_l": 1.3,
        "left_l": 1.2,
        "laa950_pct": 4.0,
        "mean_hu": -860.0,
        "dice": 0.93,
        "determinant": 1.1,
        "shift_mm": 2.0,
        "rotation_deg": 3.0,
        "inside_pct": 100.0,
        "voxel_mm": 6.0,
    }
    assert rows["a"].warnings == ["small"]
    assert rows["b"].measures == {name: value for name, value in rows["a"].measures.items() if name != "inside_pct"}
    assert rows["c"].measures == {"volume_l": 2.5, "right_l": 1.3, "left_l": 1.2, "voxel_mm": 6.0}
    widths = [pixels_of(cohort.folder / rows[name].picture).shape[1] for name in "abc"]
    assert [rows[name].size_px[0] for name in "abc"] == widths
    assert widths == sorted(widths, reverse=True)


def test_a_scan_that_cannot_be_read_stops_nobody(cohort, monkeypatch):
    bug = cohort.subject("bug")
    real = qc_subjects.read_ct
    monkeypatch.setattr(qc_subjects, "read_ct", lambda path: 1 / 0 if path == bug.scan else real(path))
    rows = drawn(cohort, cohort.subject("lost", with_scan=False), bug, cohort.subject("fine"))
    assert "no such file" in rows["lost"].note
    assert rows["bug"].note == "ZeroDivisionError: division by zero"
    assert rows["lost"].measures["dice"] == 0.93
    assert (rows["lost"].picture, rows["fine"].picture) == (None, "qc/0/fine.png")


@pytest.mark.parametrize("stage", ["table", "ingest"])
def test_what_was_excluded_before_it_was_read_is_not_read(cohort, monkeypatch, stage):
    monkeypatch.setattr(qc_subjects, "read_ct", lambda path: pytest.fail("read"))
    row = drawn(cohort, cohort.subject("a", stage))["a"]
    assert (row.picture, row.note) == (None, None)


def test_a_machine_out_of_memory_fails_and_leaves_nothing(cohort, monkeypatch):
    def fail(path):
        raise RuntimeError("Failed to allocate memory for image.")

    monkeypatch.setattr(qc_subjects, "read_ct", fail)
    with pytest.raises(RuntimeError, match="allocate"):
        drawn(cohort, cohort.subject("a"))
    assert list((cohort.folder / "qc").iterdir()) == []


def test_the_same_subject_gives_the_same_bytes(cohort):
    subject = cohort.subject("a")
    pictures = []
    for block in ("0", "1"):
        draw_subjects([subject], cohort.atlas, cohort.folder / "qc" / block)
        pictures.append((cohort.folder / "qc" / block / "a.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert pixels_of(cohort.folder / "qc/0/a.png").any()
