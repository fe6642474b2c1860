import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from reference import PAPER
from toy_tables import DETECTION, TOY, toy_file

from drasclr_core.base.errors import InputError
from drasclr_core.config.table_specs import Comparison, load_comparison, load_experiment, required_results

ROOT = Path(__file__).resolve().parents[2]
TABLE2 = ROOT / "experiments" / "table2.yaml"


@pytest.fixture
def toy(tmp_path):
    return load_experiment(toy_file(tmp_path))


def test_table2_holds_the_papers_values_exactly():
    experiment = load_experiment(TABLE2)
    with (PAPER / "table2.csv").open(encoding="utf-8") as file:
        published = list(csv.DictReader(file))
    names = [name for name in published[0] if name not in ("method", "supervised") and not name.endswith("_sd")]
    columns = dict(zip(experiment.columns, names, strict=True))
    expected = {
        row["method"]: {
            ours: (float(row[theirs]), float(row[f"{theirs}_sd"]) if row[f"{theirs}_sd"] else None)
            for ours, theirs in columns.items()
            if row[theirs]
        }
        for row in published
    }
    rows = [row for row in experiment.rows if row.paper]
    assert {row.label: row.paper for row in rows} == expected
    assert [row.label for row in rows] == [row["method"] for row in published]
    groups = {"no": "unsupervised", "yes": "supervised"}
    assert {row.label: row.group for row in rows} == {row["method"]: groups[row["supervised"]] for row in published}


def test_table2_pairs_each_column_with_the_papers():
    columns = load_experiment(TABLE2).columns
    meaning = [(column.task, column.metric) for column in columns.values()]
    assert meaning == [
        ("log_fev1pp", "r2"),
        ("log_fev1_fvc", "r2"),
        ("gold", "accuracy"),
        ("gold", "within_one"),
        ("cle", "accuracy"),
        ("cle", "within_one"),
        ("paraseptal", "accuracy"),
        ("paraseptal", "within_one"),
        ("ae_history", "accuracy"),
    ]
    assert all((column.format == "percent") == name.endswith("_pct") for name, column in columns.items())


def test_table2_gives_paper_values_to_no_method_that_only_resembles_the_papers():
    rows = {row.run: row for row in load_experiment(TABLE2).rows if row.run}
    assert set(rows) == {"laa950", "kmeans", "patch-moco", "untrained", "drasclr"}
    assert {run for run, row in rows.items() if row.paper} == {"laa950", "drasclr"}


def test_required_results_name_each_evaluation_once(toy):
    assert required_results(toy) == [
        ("laa950", "log_fev1pp"),
        ("laa950", "gold"),
        ("own", "log_fev1pp"),
        ("own", "gold"),
    ]


def test_experiments_load_without_heavy_imports():
    code = "import sys, drasclr_core.config.table_specs; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "pandas", "sklearn", "scipy", "torch"} & set(loaded.split())


def test_all_faults_of_the_schema_are_told_at_once(tmp_path):
    text = TOY.replace("format: ratio", "format: decimal").replace("run: own, ", "").replace("title: Toy", "titel: Toy")
    with pytest.raises(InputError) as error:
        load_experiment(toy_file(tmp_path, text))
    message = str(error.value)
    assert "toy.yaml has faults" in message
    assert "columns.log_fev1pp_r2.format: 'decimal' is not one of ['ratio', 'percent']" in message
    assert "rows.1: 'run' is a required property" in message
    assert "top level: 'title' is a required property" in message
    assert "'titel' was unexpected" in message


def test_all_cross_faults_are_told_at_once(tmp_path):
    text = TOY.replace("task: log_fev1pp", "task: fev1").replace("metric: accuracy", "metric: r2")
    text = text.replace("label: Own idea", "label: LAA-950").replace(
        "{gold_within_one_pct: [67", "{gold_within_pct: [67"
    )
    with pytest.raises(InputError) as error:
        load_experiment(toy_file(tmp_path, text))
    message = str(error.value)
    assert "columns.log_fev1pp_r2.task: 'fev1' is not one of log_fev1pp, log_fev1_fvc" in message
    assert "columns.gold_accuracy_pct.metric: 'r2' is not one of accuracy, within_one" in message
    assert "rows.1.label: 'LAA-950' already names row 0" in message
    assert "rows.2.paper.gold_within_pct: no such column" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [", "not valid YAML"),
        (TOY.replace("  gold_within_one_pct: {s", "  gold_accuracy_pct: {s"), "'gold_accuracy_pct' stands twice"),
        ("- a list", "top level: .* is not of type 'object'"),
        (TOY.replace("[67.6, 1.4]", "[67.6, -1.4]"), "minimum of 0"),
        (TOY.replace("[67.6, 1.4]", "[67.6]"), "rows.2.paper.gold_within_one_pct"),
    ],
)
def test_files_that_are_no_experiment_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_experiment(toy_file(tmp_path, text))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml does not exist"):
        load_experiment(tmp_path / "none.yaml")


def test_the_loader_agrees_with_plain_yaml():
    content = yaml.safe_load(TABLE2.read_text(encoding="utf-8"))
    experiment = load_experiment(TABLE2)
    assert [row.label for row in experiment.rows] == [row["label"] for row in content["rows"]]
    assert list(experiment.columns) == list(content["columns"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DETECTION.replace("variant: linear", "variant: nonlinear"),
            "rows.0.variant: 'nonlinear' is not one of linear",
        ),
        (DETECTION.replace(", variant: linear", ""), "rows.0.variant: 'None' is not one of linear"),
        (TOY.replace("run: own,", "run: own, variant: linear,"), "rows.1.variant: 'linear', but gold has no variants"),
        (DETECTION.replace("Full fine-tuning", "Linear readout"), "rows.1.label: 'Own' already names row 0"),
    ],
)
def test_variants_that_do_not_fit_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load_experiment(toy_file(tmp_path, text))


COMPARISON = """
title: Tests
table: table2
row: DrasCLR
against: [LAA-950, Patch-wise MoCo]
alternative: greater
"""


def test_a_comparison_is_read(tmp_path):
    expected = Comparison("Tests", "table2", "DrasCLR", ("LAA-950", "Patch-wise MoCo"), "greater")
    assert load_comparison(toy_file(tmp_path, COMPARISON)) == expected
    with pytest.raises(InputError, match=r"alternative.*less"):
        load_comparison(toy_file(tmp_path, COMPARISON.replace("greater", "less")))
