import csv
import math

import numpy as np
import pytest

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.phantom_ids import phantom_ids, phantom_index, phantoms_of
from drasclr_core.cohort.table import (
    read_checked_rows,
    read_participant_rows,
    validate_participants,
    write_boxes,
    write_participants,
)

GOOD = {"participant_id": "p1", "image": "p1.nii.gz", "fev1pp": "71.5", "gold": "2", "sex": "F", "smoking_status": ""}


def write_table(folder, *rows, name="table.tsv", newline="\n", encoding="utf-8"):
    path = folder / name
    delimiter = "\t" if path.suffix == ".tsv" else ","
    lines = [delimiter.join(rows[0])] + [delimiter.join(row.values()) for row in rows]
    path.write_bytes((newline.join(lines) + newline).encode(encoding))
    return path


def message(reader, path):
    with pytest.raises(InputError) as caught:
        reader(path)
    return str(caught.value)


def test_numbers_are_floats_text_is_text_and_empty_is_missing(tmp_path):
    frame = validate_participants(write_table(tmp_path, GOOD))
    row = frame.iloc[0]
    assert (row["participant_id"], row["fev1pp"], row["gold"], row["sex"]) == ("p1", 71.5, 2.0, "F")
    assert row["smoking_status"] is None
    assert math.isnan(row["cle"])
    assert all(frame[column].dtype == np.float64 for column in ("gold", "cle", "died", "fev1pp"))


@pytest.mark.parametrize(
    ("name", "newline", "encoding"),
    [("t.tsv", "\n", "utf-8"), ("t.csv", "\n", "utf-8"), ("t.tsv", "\r\n", "utf-8-sig"), ("t.CSV", "\r\n", "utf-8")],
)
def test_delimiters_byte_order_marks_and_line_ends(tmp_path, name, newline, encoding):
    path = tmp_path / name
    delimiter = "," if name.lower().endswith("csv") else "\t"
    text = newline.join([delimiter.join(("participant_id", "image")), delimiter.join(("p1", " a.nii ")), ""])
    path.write_bytes(text.encode(encoding))
    assert read_participant_rows(path) == [{"participant_id": "p1", "image": "a.nii"}]


def test_unknown_columns_are_kept_and_named_in_the_log(tmp_path, caplog):
    frame = validate_participants(write_table(tmp_path, GOOD | {"scanner": "sharp", "kvp": "120"}))
    assert frame.loc[0, ["scanner", "kvp"]].tolist() == ["sharp", "120"]
    assert list(frame.columns[-2:]) == ["scanner", "kvp"]
    assert "scanner, kvp" in caplog.text


def test_lines_of_delimiters_only_are_skipped(tmp_path):
    blank = dict.fromkeys(GOOD, "")
    assert (
        len(
            read_participant_rows(
                write_table(tmp_path, GOOD, blank, GOOD | {"participant_id": "p2", "image": "p2.nii.gz"})
            )
        )
        == 2
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("none.tsv", None, "does not exist"),
        ("table.xlsx", b"", "allowed are .tsv and .csv"),
        ("latin.tsv", "participant_id\timage\nM\u00fcller\tx\n".encode("latin-1"), "not UTF-8 (byte 22)"),
        ("empty.tsv", b"", "column 'participant_id' is missing; found are none"),
        ("only_header.tsv", b"participant_id\timage\n", "no participant"),
        ("comma.tsv", b"participant_id,image\np1,x\n", "found are participant_id,image"),
        ("twice.tsv", b"participant_id\timage\timage\np1\tx\ty\n", "column 'image' appears 2 times"),
        ("short.tsv", b"participant_id\timage\tgold\np1\tx\n", "line 2: 2 cells where the header has 3"),
        ("long.tsv", b"participant_id\timage\np1\tx\ty\n", "line 2: 3 cells where the header has 2"),
        ("path.tsv", b"participant_id\timage\n../p1\tx\n", "line 2, participant_id: '../p1' is not"),
        ("dash.tsv", b"participant_id\timage\n-p1\tx\n", "'-p1' is not"),
        ("same.tsv", b"participant_id\timage\np1\tx\np1\ty\n", "line 3, participant_id: 'p1' is already on line 2"),
        ("no_image.tsv", b"participant_id\timage\np1\t\n", "line 2, image: empty"),
        ("open.tsv", b'participant_id\timage\np1\tx\np2\t"y\np3\tz\n', "line 3: unexpected end of data"),
        ("swallow.tsv", b'participant_id\timage\np1\t"x\np2\ty\np3\tz"\n', "line 2: a line break"),
        ("inner.csv", b'participant_id,image\np1,"x" y\n', "line 2: ',' expected after '\"'"),
        ("long.csv", b'participant_id,image\np1,"' + b"x\n" * 70_000, "line 2: field larger than field limit"),
        ("header.tsv", b'participant_id\t"image\np1\tx\n', "line 1: unexpected end of data"),
        ("nul.tsv", b"participant_id\timage\np1\tx\0y\n", "line 2: a line break, or another such character"),
    ],
)
@pytest.mark.parametrize("reader", [read_participant_rows, validate_participants])
def test_unreadable_tables(tmp_path, name, content, expected, reader):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert expected in message(reader, tmp_path / name)


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("fev1pp", "high", "'high' is not of type 'number'"),
        ("fev1pp", "nan", "'nan' is not of type 'number'"),
        ("fev1pp", "NA", "Empty if missing"),
        ("fev1_fvc", "65", "65 is greater than the maximum of 1"),
        ("gold", "-2", "-2 is less than the minimum of -1"),
        ("gold", "1.5", "1.5 is not of type 'integer'"),
        ("cle", "6", "6 is greater than the maximum of 5"),
        ("race", "NA", "'NA' would be taken as text; leave the cell empty"),
        ("race", ".", "'.' would be taken as text"),
        ("exclude_reason", "n/a", "'n/a' would be taken as text"),
        ("exclude_reason", "NaN", "'NaN' would be taken as text"),
        ("image", "nan", "'nan' would be taken as text"),
        ("sex", "female", "'female' is not one of ['F', 'M']"),
        ("smoking_status", "ex", "'ex' is not one of"),
        ("died", "2", "2 is not one of [0, 1]"),
        ("died", "1", "'followup_days' is a dependency of 'died'; fill both cells or neither"),
    ],
)
def test_cells_outside_the_schema(tmp_path, column, cell, expected):
    path = write_table(tmp_path, GOOD | {column: cell})
    read_participant_rows(path)
    text = message(validate_participants, path)
    assert message(read_checked_rows, path) == text
    assert "line 2" in text
    assert column in text
    assert expected in text


def test_a_person_is_any_text_and_its_column_optional(tmp_path):
    rows = [
        GOOD | {"participant_id": name, "image": f"{name}.nii.gz", "person": person}
        for name, person in [("p1", "007"), ("p2", ""), ("p3", "p3")]
    ]
    frame = validate_participants(write_table(tmp_path, *rows))
    assert frame["person"].tolist() == ["007", None, "p3"]
    assert validate_participants(write_table(tmp_path, GOOD))["person"].tolist() == [None]


@pytest.mark.parametrize(
    ("persons", "expected"),
    [
        (["", "p1"], "line 3, person: 'p1' is the participant_id of line 2, which names no person; name it there too"),
        (["NA", "x"], "line 2, person: 'NA' would be taken as text; leave the cell empty if missing"),
    ],
)
def test_persons_that_may_or_may_not_be_one_are_refused(tmp_path, persons, expected):
    rows = [
        GOOD | {"participant_id": f"p{place}", "image": f"p{place}.nii.gz", "person": cell}
        for place, cell in enumerate(persons, 1)
    ]
    path = write_table(tmp_path, *rows)
    assert expected in message(read_checked_rows, path)
    rows[0]["person"] = "p1"
    assert len(read_checked_rows(write_table(tmp_path, *rows))) == 2


def test_all_faults_are_told_at_once(tmp_path):
    path = write_table(
        tmp_path,
        GOOD | {"participant_id": "a b", "gold": "9"},
        GOOD | {"image": "", "fev1pp": "-3"},
        GOOD | {"sex": "X", "image": "x.nii.gz"},
    )
    faults = message(validate_participants, path).splitlines()
    assert faults[0] == f"{path} has faults:"
    places = [fault.split(":")[0].strip() for fault in faults[1:]]
    assert sorted(places) == [
        "line 2, gold",
        "line 2, participant_id",
        "line 3, fev1pp",
        "line 3, image",
        "line 4, participant_id",
        "line 4, sex",
    ]


def test_written_tables_read_back(tmp_path):
    rows = [{"participant_id": "a", "image": "a.nrrd", "gold": None, "fev1pp": 80.5}, GOOD | {"died": 0}]
    rows[1]["followup_days"] = 12
    path = tmp_path / "new" / "participants.tsv"
    write_participants(rows, path)
    assert b"\r" not in path.read_bytes()
    frame = validate_participants(path)
    assert frame["fev1pp"].tolist() == [80.5, 71.5]
    assert math.isnan(frame["gold"][0])
    assert frame["died"][1] == 0.0


def test_boxes_are_written_in_millimetres(tmp_path):
    box = {"participant_id": "a", "subtype": "paraseptal", "x_mm": -10.5, "y_mm": 2.0, "z_mm": 3.0}
    write_boxes([box], tmp_path / "boxes.tsv")
    with (tmp_path / "boxes.tsv").open() as file:
        assert list(csv.reader(file, delimiter="\t")) == [list(box), ["a", "paraseptal", "-10.5", "2.0", "3.0"], []]


def test_phantom_ids_do_not_depend_on_the_size_of_the_cohort():
    assert phantom_ids(2) == ["phantom-001", "phantom-002"]
    assert phantom_ids(1200)[:2] == phantom_ids(2)
    assert [phantom_index(name) for name in phantom_ids(1200)] == list(range(1200))


def test_phantoms_may_begin_elsewhere_in_their_row():
    assert phantoms_of({"subjects": 2, "spacing_mm": [1, 1, 1]}) == phantom_ids(2)
    assert phantoms_of({"subjects": 2, "first": 999}) == ["phantom-999", "phantom-1000"]
    assert phantom_ids(3, first=5) == phantom_ids(7)[4:]


@pytest.mark.parametrize("subjects", [0, -1])
def test_a_phantom_cohort_needs_a_subject(subjects):
    with pytest.raises(InputError, match="1 subject or more"):
        phantom_ids(subjects)


@pytest.mark.parametrize("name", ["phantom-000", "phantom-1", "phantom-0012", "p-001", "phantom-001x"])
def test_other_ids_are_no_phantoms(name):
    with pytest.raises(InputError, match="phantom-001"):
        phantom_index(name)
