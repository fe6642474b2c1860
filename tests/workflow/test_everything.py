"""Every table and figure, and the report, of a tiny phantom cohort: each is there, without holes nobody explains."""

import csv

import pytest
import yaml
from formats_page import described_files
from workflow_run import FULL, ROOT, changed, snakemake, succeeded, tiny_config

pytestmark = pytest.mark.workflow

EXPERIMENTS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "experiments").glob("*.yaml")}
FIGURES = sorted(name for name in EXPERIMENTS if name.startswith("figure"))
TESTS = sorted(name for name, content in EXPERIMENTS.items() if "against" in content)
TABLES = sorted(set(EXPERIMENTS) - set(FIGURES) - set(TESTS))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of everything that the default configuration can make."""
    folder = tmp_path_factory.mktemp("everything")
    config = changed(tiny_config(FULL), {"cohorts.phantom.phantom.subjects": 12, "pretrain.probe_steps": 0})
    succeeded(snakemake(folder, config, "tables", "figures", "report"))
    return folder / "results"


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_every_row_and_a_value_or_a_reason_in_every_cell(results, table):
    rows = rows_of(results / f"{table}.csv")
    assert [row["method"] for row in rows] == [row["label"] for row in EXPERIMENTS[table]["rows"] if row["run"]]
    page = (results / f"{table}.md").read_text(encoding="utf-8")
    columns = EXPERIMENTS[table]["columns"]
    for row in rows:
        for name, column in columns.items():
            if row.get(f"{name}_mean", row.get(f"{name}_pooled")) == "":
                assert f"- {column['task']}" in page, f"{row['method']} / {name} is empty without a reason"
            else:
                assert int(row[f"{name}_n"]) > 0
    assert "nan" not in page.lower().replace("nano", "")
    assert not [name for name in rows[0] if "paper" in name]


@pytest.mark.parametrize("comparison", TESTS)
def test_a_table_of_tests_has_p_values_between_0_and_1_or_a_reason(results, comparison):
    rows = rows_of(results / f"{comparison}.csv")
    compared = EXPERIMENTS[EXPERIMENTS[comparison]["table"]]["rows"]
    run_here = {row["label"] for row in compared if row["run"]}
    assert {row["against"] for row in rows} == set(EXPERIMENTS[comparison]["against"]) & run_here
    for row in rows:
        for name in ("plain_p", "corrected_p"):
            assert row["note"] if row[name] == "" else 0 <= float(row[name]) <= 1


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_a_picture_with_its_numbers(results, figure):
    assert (results / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert (results / f"{figure}.csv").is_file()


def test_the_report_shows_them_all(results):
    page = (results / "report.html").read_text(encoding="utf-8")
    for name, content in EXPERIMENTS.items():
        assert content["title"].replace("'", "&#39;") in page, name


def test_the_page_of_file_formats_describes_each_file(results):
    made = [path for path in results.rglob("*") if path.is_file() and not path.name.startswith(".")]
    names = [path.relative_to(results.parent).as_posix() for path in made]
    described = described_files()
    assert len(names) > 300
    assert [name for name in names if not any(each.fullmatch(name) for each in described)] == []
