"""Tables 4, 6, 8 and 9 and the significance tables, as they are declared and as they are written."""

import csv
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from reference import PAPER

from drasclr_core import __version__
from drasclr_core.base.errors import InputError
from drasclr_core.config.checks import same_run
from drasclr_core.config.table_specs import (
    Comparison,
    compared_results,
    compared_rows,
    comparison_without_paper,
    load_comparison,
    load_experiment,
    required_results,
)
from drasclr_core.report.tables import table_csv
from drasclr_core.report.tables_significance import build_significance, significance_markdown, significance_notes

ROOT = Path(__file__).resolve().parents[2]
MEANING = {
    "logFEV1pp_r2": ("log_fev1pp", "r2"),
    "logFEV1_FVC_r2": ("log_fev1_fvc", "r2"),
    "GOLD_acc": ("gold", "accuracy"),
    "GOLD_within1": ("gold", "within_one"),
    "CLE_acc": ("cle", "accuracy"),
    "CLE_within1": ("cle", "within_one"),
    "Paraseptal_acc": ("paraseptal", "accuracy"),
    "Paraseptal_within1": ("paraseptal", "within_one"),
    "AE_history_acc": ("ae_history", "accuracy"),
    "covid_grade_acc": ("covid_grade", "accuracy"),
}
RUNS = {
    "table4": {"kmeans", "patch-moco", "untrained", "local", "drasclr"},
    "table6": {"local-none", "local-concatenation", "local-hypernetwork", "local"},
    "table8": {"local", "one-neighbour", "two-neighbours", "three-neighbours"},
    "table9": {"unhealthy-atlas", "drasclr"},
}


def table(name):
    return load_experiment(ROOT / "experiments" / f"{name}.yaml")


def comparison_of(name):
    return load_comparison(ROOT / "experiments" / f"{name}.yaml")


def config(name="config.yaml"):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


# As declared


@pytest.mark.parametrize("name", list(RUNS))
def test_a_table_holds_the_papers_values_exactly(name):
    experiment = table(name)
    with (PAPER / f"{name}.csv").open(encoding="utf-8") as file:
        published = list(csv.DictReader(file))
    label, *figures = (key for key in published[0] if not key.endswith("_sd") and key != "supervised")
    ours = {(column.task, column.metric): key for key, column in experiment.columns.items()}
    assert list(ours) == [MEANING[figure] for figure in figures]
    assert all((column.format == "percent") == key.endswith("_pct") for key, column in experiment.columns.items())
    expected = {
        row[label]: {ours[MEANING[figure]]: (float(row[figure]), float(row[f"{figure}_sd"])) for figure in figures}
        for row in published
    }
    assert {row.label: row.paper for row in experiment.rows if row.paper} == expected
    assert [row.label for row in experiment.rows if row.paper] == list(expected)
    if "supervised" in published[0]:
        groups = {"no": "unsupervised", "yes": "supervised"}
        for row in published:
            assert {each.group for each in experiment.rows if each.label == row[label]} == {groups[row["supervised"]]}


@pytest.mark.parametrize("name", list(RUNS))
def test_a_table_needs_these_runs_and_the_configurations_have_them(name):
    experiment = table(name)
    assert {run for run, _ in required_results(experiment)} == RUNS[name]
    for file in ("config.yaml", "config/phantom-large.yaml", "config/copdgene.yaml", "config/mosmed.yaml"):
        content = config(file)
        if experiment.cohort in content["roles"]:
            assert RUNS[name] <= set(content["runs"]), file


def test_only_what_the_paper_ran_has_its_values():
    assert {row.run for row in table("table4").rows if row.run and row.paper} == {"local", "drasclr"}


@pytest.mark.parametrize(
    ("recipe", "same"), [("paper", {"two-neighbours": "drasclr"}), ("small", {"local": "drasclr"})]
)
def test_each_training_of_the_ablations_is_another_one_but_for_drasclrs_own(recipe, same):
    content = config()
    content["pretrain"]["recipe"] = recipe
    for name in set().union(*RUNS.values()):
        assert same_run(content, name) == same.get(name, name)


def test_the_ablations_differ_from_drasclr_in_nothing_but_what_they_ablate():
    runs = config()["runs"]
    assert {name: runs[name].get("params", {}) for name in sorted(RUNS["table6"] | RUNS["table8"])} == {
        "local": {"neighbours": 0},
        "local-concatenation": {"neighbours": 0, "conditioning": "concatenation"},
        "local-hypernetwork": {"neighbours": 0, "conditioning": "hypernetwork"},
        "local-none": {"neighbours": 0, "conditioning": "none"},
        "one-neighbour": {"neighbours": 1},
        "two-neighbours": {"neighbours": 2},
        "three-neighbours": {"neighbours": 3},
    }
    assert runs["unhealthy-atlas"] == {"method": "drasclr", "atlas": "unhealthy"}


@pytest.mark.parametrize(
    ("name", "row", "alternative"),
    [
        ("tableA5", "DrasCLR", "greater"),
        ("tableA6", "healthy atlas", "two-sided"),
        ("tableA7", "DrasCLR", "greater"),
        ("table7_test", "Patch location", "greater"),
    ],
)
def test_a_row_is_compared_with_every_other_of_its_table(name, row, alternative):
    comparison = comparison_of(name)
    labels = [each.label for each in table(comparison.table).rows]
    tables = {"tableA5": "table2", "tableA6": "table9", "tableA7": "table4", "table7_test": "table7"}
    assert comparison.table == tables[name]
    assert (comparison.row, comparison.alternative) == (row, alternative)
    assert list(comparison.against) == [label for label in labels if label != row]
    assert comparison.paper_p == ("< 0.005" if name == "table7_test" else "not available")


# As written

TOY = """
title: Toy
cohort: copd
columns:
  r2: {section: Lung function, label: R², task: log_fev1pp, metric: r2, format: ratio}
  gold_pct: {section: GOLD, label: "accuracy, %", task: gold, metric: accuracy, format: percent}
rows:
  - {label: Own, run: own}
  - {label: Old, run: old}
  - {label: Absent, run: null}
"""
COMPARISON = Comparison("Tests", "toy", "Own", ("Old", "Absent"), "greater")


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(TOY, encoding="utf-8")
    return load_experiment(path)


def evaluation(metric, values, people=10):
    folds = [
        {
            "fold": fold,
            "n_train": 40,
            "n_test": 10,
            "ids": [f"s{fold}-{number % people}" for number in range(10)],
            "metrics": {metric: value},
        }
        for fold, value in enumerate(values)
    ]
    return {"readout": "plain", "variant": None, "seed": 0, "fold_count": 5, "n": 50, "folds": folds}


def toy_results():
    return {
        ("own", "log_fev1pp"): evaluation("r2", [0.5, 0.6, 0.7, 0.6, 0.6]),
        ("own", "gold"): evaluation("accuracy", [0.5] * 5),
        ("old", "log_fev1pp"): evaluation("r2", [0.4, 0.5, 0.5, 0.5, 0.45]),
        ("old", "gold"): evaluation("accuracy", [0.25] * 5),
    }


def test_each_test_has_a_line_and_the_paper_no_number(toy):
    assert compared_results(COMPARISON, toy) == list(toy_results())
    lines = list(csv.DictReader(io.StringIO(table_csv(build_significance(COMPARISON, toy, toy_results())))))
    assert [(line["against"], line["column"]) for line in lines] == [
        ("Old", "r2"),
        ("Old", "gold_pct"),
        ("Absent", "r2"),
        ("Absent", "gold_pct"),
    ]
    assert {line["paper_p"] for line in lines} == {"not available"}
    assert {line["alternative"] for line in lines} == {"greater"}
    tested, constant, *absent = lines
    # Differences 0.1 0.1 0.2 0.1 0.15: mean 0.13, sample variance 0.002; 5 folds, a quarter tested.
    assert float(tested["difference"]) == pytest.approx(0.13)
    assert float(tested["corrected_t"]) == pytest.approx(0.13 / math.sqrt((1 / 5 + 1 / 4) * 0.002), abs=1e-5)
    assert (tested["folds"], tested["plain_df"], tested["corrected_df"], tested["note"]) == ("5", "8", "4", "")
    assert 0 < float(tested["plain_p"]) < float(tested["corrected_p"]) < 0.05
    assert float(constant["difference"]) == 25
    assert constant["plain_p"] == constant["corrected_p"] == ""
    assert constant["note"] == "the values do not vary over the folds; the differences do not vary over the folds"
    for line in absent:
        assert line["note"] == "not run here"
        assert line["plain_p"] == line["corrected_p"] == line["difference"] == ""


def test_the_markdown_says_which_test_is_which(toy):
    rows, results = build_significance(COMPARISON, toy, toy_results()), toy_results()
    notes = significance_notes(rows, results, cohort="phantom", config_hash="0f3a")
    text = significance_markdown(COMPARISON, toy, rows, notes)
    cells = [rows[0]["plain_p"], rows[0]["corrected_p"]]
    shown = " | ".join("< 0.001" if p < 0.001 else f"{p:.3f}" for p in cells)
    assert "| Own against | R²: difference | p, t-test | p, corrected | *paper* |" in text
    assert f"| Old | +0.130 | {shown} | not available |" in text
    assert "| Old | +25.0 | – | – | not available |" in text
    assert "| Absent | not run here | – | – | not available |" in text
    for fact in (
        "Student's two-sample t-test",
        "corrected resampled t-test (Nadeau and Bengio, 2003)",
        "One-sided: is 'Own' better?",
        "*Paper*: not available, for the appendix",
        "Old / gold_pct: the values do not vary over the folds",
        "5 folds by subject; readout: plain; seed 0. Cohort: phantom.",
        f"Made by drasclr {__version__}; hash of the settings that decide these figures: 0f3a.",
    ):
        assert fact in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize(("people", "tested"), [(6, True), (5, False)])
def test_a_p_needs_thirty_people(toy, people, tested):
    results = toy_results()
    for run, values in (("own", [0.5, 0.6, 0.7, 0.6, 0.6]), ("old", [0.4, 0.5, 0.5, 0.5, 0.45])):
        results[run, "log_fev1pp"] = evaluation("r2", values, people)
    rows = build_significance(COMPARISON, toy, results)
    assert rows[0]["people"] == 5 * people
    assert rows[0]["difference"] == pytest.approx(0.13)
    assert [rows[0][name] is not None for name in ("plain_t", "plain_p", "corrected_df", "corrected_p")] == [tested] * 4
    text = significance_markdown(COMPARISON, toy, rows, significance_notes(rows, results, cohort="c", config_hash="0"))
    assert ("| Old | +0.130 † | – | – | not available |" in text) != tested
    assert ("† of fewer than 30 people: an example rather than a result. No p is given." in text) != tested
    assert ("- Old / r2: 25 people, and a p needs 30." in text) != tested


def test_of_several_trainings_the_means_in_each_fold_are_compared_and_the_notes_say_so(toy):
    alone = toy_results()
    several = {
        **alone,
        ("own", "log_fev1pp"): evaluation("r2", [0.3, 0.6, 0.9, 0.6, 0.5]),
        ("own/seed-4", "log_fev1pp"): evaluation("r2", [0.7, 0.6, 0.5, 0.6, 0.7]),
        ("own/seed-4", "gold"): evaluation("accuracy", [0.5] * 5),
    }
    first, second = (build_significance(COMPARISON, toy, results) for results in (alone, several))
    assert second == [pytest.approx(row) for row in first]  # the means are the values of the one

    settings = {"cohort": "phantom", "config_hash": "0f3a"}
    told = [significance_notes(first, results, **settings)[1] for results in (alone, several)]
    assert told == [
        "Spread in both tests: that over the folds. That over trainings with other seeds is in neither.",
        "Spread in both tests: that over the folds, of each fold's mean over the trainings (own 2). "
        "That over trainings with other seeds is in neither.",
    ]


def test_a_fold_in_which_a_training_has_no_value_does_not_count(toy):
    results = toy_results()
    results["own/seed-4", "log_fev1pp"] = evaluation("r2", [0.5, None, 0.7, 0.6, 0.6])
    results["own/seed-4", "gold"] = evaluation("accuracy", [0.5] * 5)
    tested = build_significance(COMPARISON, toy, results)[0]
    assert tested["folds"] == 4
    assert tested["difference"] == pytest.approx((0.5 + 0.7 + 0.6 + 0.6 - 0.4 - 0.5 - 0.5 - 0.45) / 4)


def test_what_the_paper_says_of_p_is_quoted(toy):
    comparison = replace(COMPARISON, paper_p="< 0.005")
    text = significance_markdown(comparison, toy, build_significance(comparison, toy, toy_results()))
    assert "| Old | +25.0 | – | – | < 0.005 |" in text
    assert "*Paper*: what the publication says of these tests, on its own cohort." in text


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        (Comparison("Tests", "toy", "Own", ("Older",), "greater"), "toy has no row, or several, labelled Older"),
        (Comparison("Tests", "toy", "Own", ("Old",), "greater", group="g"), "labelled Own, Old"),
        (Comparison("Tests", "toy", "Absent", ("Old",), "greater"), "toy does not run 'Absent'"),
    ],
)
def test_rows_that_cannot_be_compared_are_named(toy, comparison, message):
    with pytest.raises(InputError, match=re.escape(message)):
        compared_rows(comparison, toy)


def test_of_phantoms_the_tests_quote_nothing_and_leave_out_what_is_not_run(toy):
    ours = comparison_without_paper(COMPARISON, toy)
    rows = build_significance(ours, toy, toy_results())
    text = significance_markdown(ours, toy, rows)
    assert {row["against"] for row in rows} == {"Old"}
    assert "paper_p" not in rows[0]
    assert "*paper*" not in text.lower()
    assert "| Old | +25.0 | – | – |\n" in text
    assert "- The cohort is of phantoms" in text
