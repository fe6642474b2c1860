"""MosMed's own layout, with real small volumes."""

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from typer.testing import CliRunner
from workflow_run import ROOT

from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.cohort.imports.mosmed import PUBLISHED, import_mosmed
from drasclr_core.cohort.table import read_participant_rows, validate_participants
from drasclr_core.config.checks import check_participants
from drasclr_core.scan.files import read_file

STUDIES = {
    "CT-0/study_0001.nii.gz": 0,
    "CT-0/study_0002.nii.gz": 0,
    "CT-1/study_0255.nii.gz": 1,
    "CT-2/study_0939.nii": 2,
    "CT-3/study_1064.nii.gz": 3,
    "CT-4/study_1109.nii.gz": 4,
}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in STUDIES:
        path = tmp_path / "mosmed" / "studies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ct = sitk.GetImageFromArray(rng.integers(-1000, 0, (20, 21, 22)).astype(np.int16))
        ct.SetSpacing((10.0, 10.0, 10.0))
        sitk.WriteImage(ct, str(path))
    (tmp_path / "mosmed" / "dataset_registry.xlsx").touch()
    return tmp_path / "mosmed"


def add(folder, name):
    path = folder / "studies" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((folder / "studies" / "CT-0" / "study_0001.nii.gz").read_bytes())


def test_the_table_holds_ids_scans_and_grades(folder, tmp_path):
    target = tmp_path / "tables" / "participants.tsv"
    text = import_mosmed(folder, target)
    frame = validate_participants(target)
    assert frame["participant_id"].tolist() == [f"study_{n}" for n in ("0001", "0002", "0255", "0939", "1064", "1109")]
    assert frame["covid_grade"].tolist() == list(STUDIES.values())
    assert frame["image"].tolist() == [f"../mosmed/studies/{name}" for name in STUDIES]
    assert {read_file(target.parent / image).GetSize() for image in frame["image"]} == {(22, 21, 20)}
    assert text == [
        f"{target}: 6 participants",
        "  CT-0: 2 (published: 254)",
        "  CT-1: 1 (published: 684)",
        "  CT-2: 1 (published: 125)",
        "  CT-3: 1 (published: 45)",
        "  CT-4: 1 (published: 2)",
    ]
    assert sum(PUBLISHED.values()) == 1110


def test_the_inner_folder_serves_as_well(folder):
    import_mosmed(folder / "studies", folder / "participants.tsv")
    assert read_participant_rows(folder / "participants.tsv")[0]["image"] == "studies/CT-0/study_0001.nii.gz"


def test_what_is_not_of_the_layout_is_said(folder):
    for name in ("CT-5/study_0003.nii.gz", "CT-1/study_255.nii.gz", "CT-1/more/study_0300.nii.gz", "CT-1/.DS_Store"):
        add(folder, name)
    *_, last = import_mosmed(folder, folder / "participants.tsv")
    assert last.strip() == (
        "5 files or folders are not of this layout and are not used: "
        "CT-1/study_255.nii.gz, CT-1/more/, CT-1/more/study_0300.nii.gz, CT-5/, CT-5/study_0003.nii.gz"
    )
    assert len(read_participant_rows(folder / "participants.tsv")) == 6


@pytest.mark.parametrize("name", ["CT-3/study_0001.nii.gz", "CT-0/study_0001.nii"])
def test_a_study_that_is_there_twice_is_refused(folder, name):
    add(folder, name)
    with pytest.raises(
        InputError, match="study is there more than once; leave one in place:\n  study_0001: "
    ) as caught:
        import_mosmed(folder, folder / "participants.tsv")
    assert f"studies/{name}" in str(caught.value)
    assert "CT-0/study_0001.nii.gz" in str(caught.value)
    assert not (folder / "participants.tsv").exists()


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="give MosMed's own folder"):
        import_mosmed(tmp_path, tmp_path / "participants.tsv")
    with pytest.raises(InputError, match="nowhere is no folder"):
        import_mosmed(tmp_path / "nowhere", tmp_path / "participants.tsv")


def test_the_command(folder):
    target = folder / "participants.tsv"
    result = CliRunner().invoke(app, ["cohort", "mosmed", str(folder), "-o", str(target)])
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, f"{target}: 6 participants")
    again = CliRunner().invoke(app, ["cohort", "mosmed", str(folder), "-o", str(target)])
    assert (again.exit_code, again.stdout) == (2, "")
    assert CliRunner().invoke(app, ["cohort", "mosmed", str(folder), "-o", str(target), "--overwrite"]).exit_code == 0


def test_the_configuration_fits_the_table(folder):
    """With the published numbering: the first 254 are CT-0, and the atlas is one of them."""
    config = yaml.safe_load((ROOT / "config" / "mosmed.yaml").read_text(encoding="utf-8"))
    import_mosmed(folder, folder / "participants.tsv")
    rows = {row["participant_id"]: row for row in read_participant_rows(folder / "participants.tsv")}
    assert rows[config["atlases"]["healthy"]["participant"]]["covid_grade"] == "0"
    ids = [*rows, *(f"more_{number}" for number in range(1104))]
    check_participants(config, {"mosmed": dict.fromkeys(ids, "")})
