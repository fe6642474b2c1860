"""Which scan of a COPDGene subject is taken, and what is said of the others."""

import pytest
from copdgene_study import IDS, Study

from drasclr_core.cohort.imports.images import walk


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_only_standard_inspiratory_scans_of_phase_1_are_taken(study):
    for name in IDS:
        (study.images / f"{name}_INSP_STD_BWH_COPD.nrrd").unlink()
    for name in (
        "10002K_EXP_STD_BWH_COPD.nrrd",
        "10002K_INSP_B46f_267_COPD1.nrrd",
        "10002K_INSP_STD_BWH_COPD2.nrrd",
        "10002K_INSP_STD_BWH_COPD_leftLungRightLung.nrrd",
        "10003M/10003M_INSP_B31f_BWH_COPD1.nii.gz",
        "10003M/10003M_INSP_STD_BWH_COPD.nii.gz",
        "10003M/10003M_INSP_STD_BWH_COPD.mha",
        "10003M/.hidden_INSP_STD_BWH_COPD.nrrd",
        "88888X_INSP_STD_BWH_COPD.nrrd",
    ):
        study.scan(name)
    for place in ("10004O_INSP_b31F_340_COPD1/dicom/1.dcm", "10004O_EXP_B31f_340_COPD1/1.dcm"):
        study.scan(place, bytes(128) + b"DICM")
    study.scan("10002K_INSP_STD_NJC_COPD/readme.txt")
    text = study.run()
    assert study.frame()["image"].tolist() == [
        "../images/10003M/10003M_INSP_STD_BWH_COPD.nii.gz",
        "../images/10004O_INSP_b31F_340_COPD1/dicom",
    ]
    assert study.left_out() == {
        "10002K": "no scan that can be used",
        "88888X": "a scan, but not in pheno.txt",
    }
    scans = text.split("scans\n")[1].split("columns found")[0]
    assert "taken: 1 STD .nii.gz, 1 b31F dicom" in scans
    assert "1 subjects had several; taken by kernel, then by format: 10003M" in scans
    assert "not used: 2 EXP, 1 kernel B46f, 1 phase 2" in scans
    assert "1 images are not named like a scan: 10002K_INSP_STD_BWH_COPD_leftLungRightLung.nrrd" in scans
    assert "1 subjects have none and are left out: 10002K" in scans
    assert "1 subjects with a scan are in no table: 88888X" in scans


@pytest.mark.parametrize("other", ["copy/10002K_INSP_STD_BWH_COPD.nrrd", "10002K_INSP_STD_NJC_COPD.nii.gz"])
def test_equally_good_scans_are_refused(study, other):
    study.scan(other)
    text = study.refused()
    assert "several scans of a subject are equally good; leave one in place:" in text
    assert other in text
    assert "10002K_INSP_STD_BWH_COPD.nrrd" in text


def test_equally_good_scans_of_a_stranger_are_no_matter(study):
    study.scan("88888X_INSP_STD_BWH_COPD.nrrd")
    study.scan("copy/88888X_INSP_STD_BWH_COPD.nrrd")
    study.run()
    assert len(study.frame()) == 3


def test_links_are_followed_and_a_circle_ends(study):
    real = study.folder / "elsewhere"
    study.images.rename(real)
    study.images.symlink_to(real)
    (real / "circle").symlink_to(real)
    study.run()
    image = study.frame()["image"]["10002K"]
    assert (study.target.parent / image).read_bytes() == b"scan"
    assert [path for path, _ in walk(real)] == [real]


def test_a_folder_without_a_scan_says_what_is_there(study):
    for name in IDS:
        study.scan(f"{name}_INSP_STD_BWH_COPD.nrrd").rename(study.images / f"{name}_EXP_STD_BWH_COPD.nrrd")
    text = study.refused()
    assert "has a scan here" in text
    assert "not used: 3 EXP" in text


def test_no_folder_of_images(study):
    study.images = study.folder / "nowhere"
    assert "nowhere is no folder" in study.refused()
