"""The script of the quality control's page, run on as much of a browser as it needs."""

import json
import re

import pytest
from quickjs import Context

from drasclr_core.qc.page import COLUMNS, render_qc
from drasclr_core.qc.rows import SubjectRow

BROWSER = """
globalThis.shown = {
  tHead: {rows: [{cells: HEADS.map(([first, order, text]) => ({
    dataset: {first},
    "aria-sort": order,
    textContent: text,
    getAttribute(name) { return this[name] ?? null; },
    setAttribute(name, value) { this[name] = value; },
    removeAttribute(name) { delete this[name]; },
    replaceChildren(button) { this.button = button; },
  }))}]},
  tBodies: BODIES.map(([id, cells]) => ({
    id,
    rows: [{cells: cells.map(([v, text]) => ({dataset: v === null ? {} : {v}, textContent: text}))}],
  })),
  append(...bodies) { this.order = bodies.map(body => body.id); },
};
globalThis.document = {
  querySelector: () => shown,
  getElementById: () => ({}),
  createElement: () => ({addEventListener(event, act) { this[event] = act; }}),
};
globalThis.scrollTo = () => {};
"""
ROWS = [
    SubjectRow("fine", measures={"dice": 0.95, "laa950_pct": 3.0, "volume_l": 5.0}),
    SubjectRow("odd", measures={"dice": 0.85, "laa950_pct": 20.0, "volume_l": 10.0}),
    SubjectRow("refused", measures={"dice": 0.7, "laa950_pct": 5.0, "volume_l": 4.0}),
    SubjectRow("unread"),
]
EXCLUSIONS = [
    {"participant_id": "refused", "stage": "register", "reason": "dice"},
    {"participant_id": "unread", "stage": "ingest", "reason": "no scan"},
]


@pytest.fixture
def click():
    """Return a function that clicks on a heading; it returns the participants in their order then."""
    page = render_qc("clinic", ROWS, EXCLUSIONS, date="2026-01-02", config_hash="0" * 16)
    heads = re.findall(r'<th scope="col" data-first="(\w+)"[^>]*?(?: aria-sort="(\w+)")?>(.*?)</th>', page)
    bodies = re.findall(r'<tbody id="s-(\w+)".*?<tr>(.*?)</tr>', page, re.DOTALL)
    cells = r'<t[dh]\b(?:[^>]*? data-v="([^"]*)")?[^>]*>(.*?)</t[dh]>'
    rows = [(id_, [cell.groups() for cell in re.finditer(cells, row)]) for id_, row in bodies]
    assert {len(row) for _, row in rows} == {len(heads)} == {len(COLUMNS)}
    texts = [(id_, [(v, re.sub("<.*?>", "", text)) for v, text in row]) for id_, row in rows]
    browser = Context()
    browser.eval(f"const HEADS = {json.dumps(heads)}, BODIES = {json.dumps(texts)};{BROWSER}")
    browser.eval(page.split("<script>")[1].split("</script>")[0])
    titles = [column.title for column in COLUMNS]
    press = "shown.tHead.rows[0].cells[{}].button.click(); shown.order.join(' ')"
    return lambda title: browser.eval(press.format(titles.index(title))).split()


@pytest.mark.parametrize(
    ("title", "order"),
    [
        ("Dice", ["unread", "refused", "odd", "fine"]),
        ("lungs l", ["unread", "refused", "fine", "odd"]),  # as numbers: 10 after 5
        ("LAA-950 %", ["unread", "odd", "refused", "fine"]),
        ("participant", ["fine", "odd", "refused", "unread"]),
    ],
)
def test_a_click_puts_the_unknown_and_the_worst_first_and_another_one_last(click, title, order):
    assert click(title) == order
    assert click(title) == order[::-1]
    click("state")
    assert click(title) == order


def test_the_excluded_come_before_the_included(click):
    click("participant")
    assert click("state") == ["unread", "refused", "fine", "odd"]


def test_the_page_is_in_the_order_of_its_first_column(click):
    assert click("worst") == ["odd", "fine", "refused", "unread"]  # the other way round
