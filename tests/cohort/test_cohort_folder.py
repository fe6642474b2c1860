"""A folder of scans becomes a participants table; nothing is opened but the first bytes of DICOM files."""

import os

import pytest
from typer.testing import CliRunner

from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.cohort.imports.folder import import_folder
from drasclr_core.cohort.table import read_checked_rows, read_participant_rows

DICOM = b"\0" * 128 + b"DICM"


def put(root, *names, content=b""):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def table(root, target=None, **options):
    target = target or root.parent / "participants.tsv"
    lines = import_folder(root, target, **options)
    return {row["participant_id"]: row["image"] for row in read_participant_rows(target)}, lines


@pytest.fixture
def root(tmp_path):
    return tmp_path / "scans"


def test_every_format_and_a_dicom_folder_are_found(root):
    put(root, "a.nii.gz", "b.nii", "c.nrrd", "deep/er/d.mha", "notes.txt", ".hidden/e.nii.gz")
    put(root, "series one/IM0001", "series one/IM0002", content=DICOM)
    put(root, "no series/readme")
    found, lines = table(root)
    assert found == {
        "a": "scans/a.nii.gz",
        "b": "scans/b.nii",
        "c": "scans/c.nrrd",
        "d": "scans/deep/er/d.mha",
        "series_one": "scans/series one",
    }
    assert lines[0].endswith("5 participants, 4 files and 1 folder of DICOM files")
    assert lines[1] == "  2 files or folders not used: notes.txt, no series/readme"


def test_a_dicomdir_is_no_scan_and_sidecars_hide_none(root):
    put(root, "export/DICOMDIR", "export/A/0001", "export/B/0001", content=DICOM)
    put(root, *(f"export/B/00{name}.json" for name in "abc"))
    found, lines = table(root)
    assert set(found) == {"A", "B"}
    assert lines[1].endswith("not used: export/DICOMDIR")


def test_paths_are_relative_to_the_table(root, tmp_path):
    put(root, "a.nii.gz")
    (tmp_path / "data").mkdir()
    found, _ = table(root, tmp_path / "data" / "participants.tsv")
    assert found == {"a": "../scans/a.nii.gz"}


def test_scans_of_one_name_are_told_apart_by_their_folders(root):
    put(root, "P1/ct.nii.gz", "P2/ct.nii.gz", "P2/other.nii.gz")
    assert set(table(root)[0]) == {"P1_ct", "P2_ct", "other"}


def test_names_after_bids_tell_whose_a_scan_is_and_no_others(root, tmp_path):
    put(root, *(f"sub-01/ses-{visit}/sub-01_ses-{visit}_ct.nii.gz" for visit in "ab"), "sub-02/ct.nii.gz")
    put(root, "site/sub-01/x.nii.gz", "flat/sub-3_ses-1.nii", "flat/sub-3_ses-2.nii", "flat/subject-4.nii", "P5/y.nii")
    put(root, "sub-6/series/0001", content=DICOM)
    put(root, "bids/rawdata/sub-7/a.nii", "bids/derivatives/resampled/sub-7/b.nii")
    _, lines = table(root)
    rows = read_participant_rows(tmp_path / "participants.tsv")
    assert {row["image"].removeprefix("scans/"): row["person"] for row in rows} == {
        "sub-01/ses-a/sub-01_ses-a_ct.nii.gz": "sub-01",
        "sub-01/ses-b/sub-01_ses-b_ct.nii.gz": "sub-01",
        "sub-02/ct.nii.gz": "sub-02",
        "site/sub-01/x.nii.gz": "site/sub-01",
        "flat/sub-3_ses-1.nii": "flat/sub-3",
        "flat/sub-3_ses-2.nii": "flat/sub-3",
        "flat/subject-4.nii": "",
        "P5/y.nii": "",
        "sub-6/series": "sub-6",
        "bids/rawdata/sub-7/a.nii": "bids/sub-7",
        "bids/derivatives/resampled/sub-7/b.nii": "bids/sub-7",
    }
    assert lines[1] == "  9 scans of 6 persons, by names after BIDS (sub-LABEL)"


def test_letters_that_no_id_may_hold_are_replaced(root):
    put(root, "-Müller, 3.nii.gz")
    assert set(table(root)[0]) == {"M_ller_3"}


def test_a_name_that_is_not_utf_8_is_listed_and_costs_no_other(root):
    put(root, "a.nii.gz", "b.txt", os.fsdecode(b"M\xfcller.nii.gz"))
    found, lines = table(root)
    assert set(found) == {"a"}
    assert lines[1:] == [
        "  1 file or folder not used: b.txt",
        "  1 scan left out, for no table can hold the name; rename it: M\\udcfcller.nii.gz",
    ]


def test_only_what_matches_is_taken(root):
    put(root, "a_ct.nii.gz", "a_mask.nii.gz", "b_ct.nrrd")
    found, lines = table(root, match="*_ct.*")
    assert set(found) == {"a_ct", "b_ct"}
    assert "1 file or folder not used: a_mask.nii.gz" in lines[1]


def test_two_scans_of_one_id_are_named(root):
    put(root, "a b.nii", "a_b.nii", "c/x.nii", "c_x.nii")
    with pytest.raises(InputError, match=r"(?s)id of their own.*a_b: .*a b\.nii, .*a_b\.nii"):
        table(root)
    assert not (root.parent / "participants.tsv").exists()


def test_a_name_that_leaves_no_id_is_refused(root):
    put(root, "患者.nii.gz")
    with pytest.raises(InputError, match="no id at all"):
        table(root)


def test_a_folder_without_scans_is_refused(root):
    put(root, "notes.txt")
    with pytest.raises(InputError, match="no scan matches"):
        table(root)


@pytest.mark.parametrize("target", ["scans/a.nii.gz/p.tsv", "folder.tsv"])
def test_a_table_that_cannot_be_written_is_refused(root, target):
    put(root, "a.nii.gz")
    (root.parent / "folder.tsv").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        table(root, root.parent / target, overwrite=True)


def test_a_table_is_replaced_on_request_only(root):
    put(root, "a.nii.gz")
    arguments = ["cohort", "from-folder", str(root), "-o", str(root.parent / "p.tsv")]
    first, second, third = (CliRunner().invoke(app, [*arguments, *more]) for more in ([], [], ["--overwrite"]))
    assert (first.exit_code, second.exit_code, third.exit_code) == (0, 2, 0)
    assert "1 participant, 1 file and 0 folders" in first.stdout
    assert "--overwrite" in second.stderr


def test_a_series_behind_many_other_files_is_found(root, tmp_path):
    from volumes import thorax, write_dicom

    write_dicom(root / "late", thorax((9.0, 9.0, 9.0)).ct)
    for place in range(60):
        (root / "late" / f"a{place:02d}.txt").write_text("a note, sorted before the slices")
    import_folder(root, tmp_path / "t.tsv")
    assert "late" in {row["participant_id"] for row in read_checked_rows(tmp_path / "t.tsv")}


@pytest.mark.parametrize("name", ["a\nb.nii.gz", "a\tb.nii.gz", "a\x1b[2Jb.nii.gz"])
def test_a_name_that_no_table_can_hold_is_told_and_left_out(root, tmp_path, name):
    put(root, "sound.nii.gz")
    (root / name).write_bytes(b"")
    lines = import_folder(root, tmp_path / "t.tsv")
    assert any("no table can hold the name" in line and name not in line for line in lines)
    assert all(row["image"].isprintable() for row in read_checked_rows(tmp_path / "t.tsv"))
