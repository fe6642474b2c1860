"""The page of the quality control: who comes first, and that all text is text."""

import math
import re

import pytest
from html_page import Page

from drasclr_core import __version__
from drasclr_core.qc.order import worst_first
from drasclr_core.qc.page import COLUMNS, cells, render_qc
from drasclr_core.qc.rows import SubjectRow, read_rows, write_rows

PLAIN = {
    "volume_l": 5.0,
    "right_l": 2.5,
    "left_l": 2.5,
    "laa950_pct": 3.0,
    "mean_hu": -820.0,
    "dice": 0.95,
    "determinant": 1.0,
    "inside_pct": 100.0,
}


def row(name, warnings=(), **measures):
    return SubjectRow(name, f"qc/0/{name}.png", (2600, 430), None, list(warnings), PLAIN | measures)


def order(rows, excluded=()):
    exclusions = {name: (stage, "why") for name, stage in dict(excluded).items()}
    return [entry.row.participant_id for entry in worst_first(rows, exclusions)]


def test_the_excluded_come_first_then_those_with_warnings_then_the_odd():
    rows = [row("plain"), row("dice", dice=0.8), row("warned", ["one lung"]), row("volume", volume_l=9.0)]
    rows += [SubjectRow(name) for name in ("table", "patches", "register", "segment", "ingest")]
    excluded = {name: name for name in ("table", "patches", "register", "segment", "ingest")}
    found = order(rows, excluded)
    assert found == ["ingest", "segment", "register", "patches", "table", "warned", "dice", "volume", "plain"]
    assert order(rows[::-1], excluded) == found


def test_the_deviation_by_hand():
    dice = [0.90, 0.92, 0.94, 0.96, 0.98]  # median 0.94, median distance 0.02
    entries = worst_first([row(f"s{value}", dice=value) for value in dice], {})
    found = {entry.row.participant_id: (entry.deviation, entry.oddest) for entry in entries}
    assert found["s0.9"] == (pytest.approx(0.04 / (1.4826 * 0.02)), "Dice low")
    assert found["s0.92"] == (pytest.approx(0.02 / (1.4826 * 0.02)), "Dice low")
    assert found["s0.98"] == (0.0, "")  # more overlap is not odd


def test_ratios_count_alike_upwards_and_downwards_and_small_differences_little():
    rows = [row(f"s{number}") for number in range(5)]
    entries = worst_first([*rows, row("half", determinant=0.5), row("twice", determinant=2.0)], {})
    half, twice = sorted(entries[:2], key=lambda entry: entry.row.participant_id)
    assert half.deviation == pytest.approx(twice.deviation) == pytest.approx(math.log(2) / 0.05)
    assert (half.oddest, twice.oddest) == ("determinant low", "determinant high")


def test_the_median_is_that_of_those_included():
    rows = [row("a"), row("b"), *(row(f"out{number}", dice=0.1) for number in range(5))]
    entries = worst_first(rows, {f"out{number}": ("register", "Dice") for number in range(5)})
    assert entries[0].deviation == pytest.approx((0.95 - 0.1) / 0.005)
    assert entries[-1].deviation == 0


def test_nothing_measured_is_no_deviation():
    nobody = worst_first([SubjectRow("a")], {"a": ("ingest", "why")})[0]
    assert (nobody.deviation, nobody.oddest) == (None, "")
    lone = worst_first([row("a", left_l=0.0, right_l=4.0)], {})[0]  # no ratio of lungs
    assert lone.deviation == 0


EXCLUSIONS = [
    {"participant_id": "out", "stage": "register", "reason": "<script>alert('x')</script> Dice & co"},
    {"participant_id": "gone", "stage": "ingest", "reason": 'not a "scan"'},
]


MADE = {"date": "2026-02-03", "config_hash": "0f3a"}


@pytest.fixture(scope="module")
def text():
    rows = [row("fine"), row("odd", dice=0.7), row("warned", ["<b>left</b>"]), row("out"), SubjectRow("gone")]
    rows.append(SubjectRow("undrawn", note="<i>broken</i>", measures=PLAIN))
    return render_qc("Quality control: <u>clinic</u>", rows, EXCLUSIONS, **MADE, atlas="fine")


def test_without_a_script_the_page_is_in_order_and_has_everybody(text):
    page = Page(text)
    ids = [value for value in page.values("id") if value.startswith("s-")]
    assert ids == ["s-gone", "s-out", "s-warned", "s-odd", "s-fine", "s-undrawn"]
    assert "6 participants, 4 included, 2 excluded (ingest 1, register 1)." in page.text
    for words in ("excluded: register", 'not a "scan"', "No picture: <i>broken</i>", "0.700"):
        assert words in page.text
    assert ("span", "hidden", None) in page.attributes  # how to sort is told by the script


def test_the_page_says_how_a_mended_scan_is_read_again_where_somebody_is_excluded(text):
    assert "--forcerun results/COHORT/ingest/ID" in Page(text).text
    assert "--forcerun" not in Page(render_qc("Quality control", [row("fine")], [], **MADE)).text


def test_the_page_says_of_when_and_of_which_settings_it_is(text):
    words = " ".join(Page(text).text.split())
    assert f"Page made on 2026-02-03 by drasclr {__version__}; hash of the settings that decide it" in words
    assert "preprocessing: 0f3a." in words


def test_the_row_of_the_atlas_is_marked(text):
    rows = dict(re.findall(r'<th scope="row">(\w+)(.*?)</th>', text))
    assert [name for name, after in rows.items() if after] == ["fine"]
    assert ">atlas</span>" in rows["fine"]


def test_what_others_wrote_is_text(text):
    page = Page(text)
    assert {"u", "b", "i"}.isdisjoint(page.tags)
    assert page.tags.count("script") == 1  # ours
    assert "<script>alert('x')</script> Dice & co" in page.text


def test_pictures_lie_beside_the_page_and_nothing_else_is_read(text):
    page = Page(text)
    assert page.values("src") == [f"qc/0/{name}.png" for name in ("out", "warned", "odd", "fine")]
    assert page.values("href") == page.values("src")
    assert page.values("loading") == ["lazy"] * 4
    assert page.values("width") == ["1300"] * 4  # half of what they are: a click shows the whole
    assert {"link", "iframe", "object", "embed", "base"}.isdisjoint(page.tags)
    assert "://" not in text
    assert "url(" not in text


def test_every_row_has_a_cell_for_every_column(text):
    first_rows = re.findall(r"<tbody[^>]*>\s*<tr>(.*?)</tr>", text, re.DOTALL)
    assert len(first_rows) == 6
    assert {len(re.findall(r"<t[dh]\b", cells_)) for cells_ in first_rows} == {len(COLUMNS)}


def test_cells_are_empty_where_nothing_was_measured():
    known = dict(zip([c.measure for c in COLUMNS if c.measure], cells(row("a", dice=0.1234)), strict=True))
    assert (known["dice"], known["volume_l"], known["mean_hu"], known["shift_mm"]) == ("0.123", "5.00", "-820", "")


def test_rows_go_through_a_file_and_pictures_become_relative_to_the_page(tmp_path):
    folder = tmp_path / "qc" / "3"
    folder.mkdir(parents=True)
    rows = [SubjectRow("a", "a.png", (5, 4), None, ["w"], {"dice": 0.9}), SubjectRow("b", note="why")]
    write_rows(folder, rows)
    drawn, undrawn = read_rows(folder, tmp_path / "qc.html")
    assert (drawn.picture, list(drawn.size_px), drawn.warnings, drawn.measures) == (
        "qc/3/a.png",
        [5, 4],
        ["w"],
        {"dice": 0.9},
    )
    assert (undrawn.picture, undrawn.note) == (None, "why")
