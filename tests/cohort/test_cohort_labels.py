"""`drasclr cohort from-folder --id-regex --labels`: ids out of paths, and a clinical table that joins them."""

import pytest
from test_cohort_folder import put
from typer.testing import CliRunner

from drasclr_core.cli.main import app
from drasclr_core.cohort.table import read_participant_rows, validate_participants


@pytest.fixture
def root(tmp_path):
    put(
        tmp_path / "scans", "site1/P1_insp_ct.nii.gz", "site1/P2_insp_ct.nii.gz", "site2/P3_insp_ct.nii.gz", "x_ct.nrrd"
    )
    return tmp_path


def run(root, *more):
    return CliRunner().invoke(app, ["cohort", "from-folder", str(root / "scans"), "-o", str(root / "p.tsv"), *more])


def labels(root, text, name="labels.csv"):
    (root / name).write_text(text)
    return ["--id-regex", r"(P\d+)_", "--labels", str(root / name)]


def table(root):
    return {row.pop("participant_id"): row for row in read_participant_rows(root / "p.tsv")}


def test_the_first_group_is_the_id_and_what_does_not_match_is_told(root):
    result = run(root, "--id-regex", r"site(\d)/(P\d+)_")
    assert result.exit_code == 2  # two scans of site 1
    assert "1: " in result.stderr
    result = run(root, "--id-regex", r"/(P\d+)_(insp)")
    assert result.exit_code == 0, result.output
    assert {name: row["image"] for name, row in table(root).items()} == {
        "P1": "scans/site1/P1_insp_ct.nii.gz",
        "P2": "scans/site1/P2_insp_ct.nii.gz",
        "P3": "scans/site2/P3_insp_ct.nii.gz",
    }
    assert f"  1 scan left out, in whose path --id-regex is not found (all in {root}/p.left_out.tsv): x_ct.nrrd" in (
        result.stdout.splitlines()
    )
    assert "x_ct.nrrd\t--id-regex /(P\\d+)_(insp) is not found" in (root / "p.left_out.tsv").read_text()


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("(P", "'(P' is no regular expression: missing )"),
        ("P1", "'P1' has no group"),
        ("(Q)", "'(Q)' is found in no path"),
        ("(ct)", "these scans would not have an id of their own"),
        ("_(_?)", "is found in no path"),
    ],
)
def test_a_regular_expression_without_use_is_refused(root, regex, message):
    result = run(root, "--id-regex", regex)
    assert (result.exit_code, (root / "p.tsv").exists()) == (2, False)
    assert message in result.stderr


def test_labels_join_by_the_id_and_what_has_no_partner_is_named(root):
    more = labels(root, "fev1pp,participant_id,site\n80.5,P1,A\n,P3,B\n70,P9,C\n60,P8,C\n")
    result = run(root, *more)
    assert result.exit_code == 0, result.output
    found = table(root)
    assert {name: (row["fev1pp"], row["site"]) for name, row in found.items()} == {
        "P1": ("80.5", "A"),
        "P2": ("", ""),
        "P3": ("", "B"),
    }
    frame = validate_participants(root / "p.tsv")
    assert frame["fev1pp"].tolist()[0] == 80.5
    assert result.stdout.splitlines()[-3:] == [
        f"  {root}/labels.csv: 2 columns of 2 participants: fev1pp, site",
        "  1 participant without a row there: P2",
        "  2 rows there without a scan: P9, P8",
    ]
    left_out = (root / "p.left_out.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in left_out] == ["participant_id", "x_ct.nrrd", "P9", "P8"]


def test_a_table_of_an_earlier_call_leaves_no_list_of_those_left_out(root):
    assert run(root, *labels(root, "participant_id,fev1pp\nP1,1\nP9,2\n")).exit_code == 0
    assert (root / "p.left_out.tsv").exists()
    assert run(root, "--overwrite").exit_code == 0
    assert not (root / "p.left_out.tsv").exists()


def test_a_person_named_in_the_labels_counts_more_than_the_path(root):
    put(root / "scans", "sub-7/P7_ct.nii", "sub-8/P8_ct.nii")
    assert run(root, *labels(root, "participant_id\tperson\nP7\tanna\nP8\t\n", "labels.tsv")).exit_code == 0
    assert {name: row["person"] for name, row in table(root).items() if row["person"]} == {"P7": "anna", "P8": "sub-8"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("participant_id,FEV1pp\nP1,80\n", "header: column 'FEV1pp': did you mean fev1pp?"),
        ("id,fev1pp\nP1,80\n", "header: column 'participant_id' is missing; found are id, fev1pp"),
        ("participant_id,a,a\nP1,1,2\n", "header: column 'a' appears 2 times"),
        ("participant_id,image\nP1,x\n", "header: column 'image' is made of the folder"),
        ("participant_id,a\nP1,1\nP1,2\n", "line 3, participant_id: 'P1' is already on line 2"),
        ("participant_id,a\n,1\n", "line 2, participant_id: empty"),
        ("participant_id,a\nP1\n", "line 2: 1 cells where the header has 2"),
        (
            "participant_id,a\nP7,1\n",
            "no row is of a scan here. Its participant_ids: P7; those of the scans: P1,",
        ),
        ("", "header: column 'participant_id' is missing; found are none"),
    ],
)
def test_labels_that_cannot_join_are_refused_before_the_table_is_written(root, text, message):
    result = run(root, *labels(root, text))
    assert (result.exit_code, (root / "p.tsv").exists()) == (2, False)
    assert message in result.stderr


def test_labels_that_are_not_there_are_told(root):
    result = run(root, "--labels", str(root / "none.csv"))
    assert (result.exit_code, "none.csv does not exist; give the path of the table of labels" in result.stderr) == (
        2,
        True,
    )
