"""Tables of small cohorts, pooled out of fold; and tables of phantoms, beside which the paper's values do not stand."""

import csv
import io

import numpy as np
import pytest
from sklearn.metrics import r2_score
from toy_tables import toy_file

from drasclr_core.config.table_specs import load_experiment, without_paper
from drasclr_core.report.tables import build_table, provenance_notes, table_csv, table_markdown
from drasclr_core.report.tables_figures import folds_are_small, people_of

RNG = np.random.default_rng(0)
GOLD = ([0, 1, 2, 3, 4, 0], [0, 1, 3, 1, 4, 2])  # 3 of 6 right, 4 within one
LOGS = (RNG.normal(4, 0.3, 30), RNG.normal(4, 0.3, 30))
HERE = {"cohort": "clinic", "config_hash": "0f3a"}


def evaluation(task, truth, prediction, folds=2, persons=None, **more):
    """Return an evaluation whose folds hold every so manieth subject."""
    count = len(truth)
    values = {
        "ids": [f"s{place:03d}" for place in range(count)],
        "persons": list(range(count)) if persons is None else persons,
        "truth": list(truth),
        "prediction": list(prediction),
    }
    parts = [{name: each[fold::folds] for name, each in values.items()} for fold in range(folds)]
    metrics = ("r2",) if task.startswith("log") else ("accuracy", "within_one")
    summary = {metric: {"mean": -99.0, "sd": 99.0} for metric in metrics}
    return {
        **{"task": task, "variant": None, "notes": [], "readout": "plain", "seed": 0, "reason": None},
        **{"fold_count": folds, "n": count, "summary": summary},
        "folds": [{**part, "converged": True, "metrics": dict.fromkeys(metrics, -99.0)} for part in parts],
        **more,
    }


def toy_results():
    return {
        (run, task): evaluation(task, *values)
        for run in ("laa950", "own")
        for task, values in (("log_fev1pp", LOGS), ("gold", GOLD))
    }


@pytest.fixture
def toy(tmp_path):
    return load_experiment(toy_file(tmp_path))


def test_the_figures_are_those_of_all_predictions_at_once(toy):
    row = next(csv.DictReader(io.StringIO(table_csv(build_table(toy, toy_results())))))
    assert float(row["gold_accuracy_pct_pooled"]) == 50
    assert float(row["gold_within_one_pct_pooled"]) == pytest.approx(400 / 6, abs=1e-5)
    assert float(row["log_fev1pp_r2_pooled"]) == pytest.approx(r2_score(*LOGS), abs=1e-5)
    assert row["log_fev1pp_r2_n"] == "30"
    assert row["log_fev1pp_r2_paper"] == "0.44"  # of people the paper's values stay
    assert not [name for name in row if name.endswith(("_mean", "pct_sd", "r2_sd"))]


def test_the_intervals_are_those_of_a_plain_bootstrap_of_people(toy):
    truth, prediction = (np.repeat(values, 3) for values in LOGS)
    persons = [person for person in range(30) for _ in range(3)]
    results = toy_results() | {("own", "log_fev1pp"): evaluation("log_fev1pp", truth, prediction, persons=persons)}
    row = build_table(toy, results)[1]
    drawn = (np.random.default_rng(seed).integers(0, 30, 30) for seed in range(4000))
    plain = [r2_score(LOGS[0][people], LOGS[1][people]) for people in drawn]
    low, high = np.quantile(plain, [0.025, 0.975])
    assert row["log_fev1pp_r2_pooled"] == pytest.approx(r2_score(*LOGS))
    assert row["log_fev1pp_r2_low"] == pytest.approx(low, abs=0.25)
    assert row["log_fev1pp_r2_high"] == pytest.approx(high, abs=0.08)


@pytest.mark.parametrize(("people", "small"), [(149, True), (150, False)])
def test_folds_of_thirty_people_are_not_small(people, small):
    many, few = np.zeros(1000), np.zeros(people)
    both = [evaluation("gold", many, many, folds=5), evaluation("cle", few, few, folds=5)]
    assert folds_are_small(both) is small


def test_people_count_not_their_scans():
    scans = evaluation("gold", np.zeros(300), np.zeros(300), folds=5, persons=[place // 3 for place in range(300)])
    assert people_of(scans) == 100
    assert folds_are_small([scans])


def test_a_label_that_nobody_has_makes_no_fold_small():
    many = evaluation("gold", np.zeros(1000), np.zeros(1000))
    assert not folds_are_small([many, evaluation("cle", [], [], reason="no column cle")])


@pytest.mark.parametrize("task", ["survival", "centrilobular_detection"])
def test_survival_and_boxes_keep_what_they_have(task):
    assert not folds_are_small([evaluation("gold", *GOLD), {"task": task, "reason": None, "n": 20, "fold_count": 5}])


def test_of_several_trainings_stands_the_mean(toy):
    again = ([0, 1, 2, 3, 4, 0], [0, 1, 2, 3, 4, 4])  # 5 of 6 right
    results = toy_results()
    results["own/seed-1", "log_fev1pp"] = evaluation("log_fev1pp", *LOGS)
    results["own/seed-1", "gold"] = evaluation("gold", *again)
    row = build_table(toy, results)[1]
    assert row["gold_accuracy_pct_pooled"] == pytest.approx(100 * (3 + 5) / 12)
    assert row["gold_accuracy_pct_training_sd"] == pytest.approx(100 * (1 / 3) / 2**0.5)  # of two values, 1/3 apart
    assert row["log_fev1pp_r2_training_sd"] == 0
    note = next(note for note in provenance_notes(results, **HERE) if note.startswith("Over N trainings"))
    assert "the value is a mean, in brackets the interval of that mean;" in note


def test_a_label_without_evaluation_is_empty(toy):
    results = toy_results() | {("own", "gold"): evaluation("gold", [], [], reason="no column gold")}
    rows = build_table(toy, results)
    assert rows[1]["gold_accuracy_pct_pooled"] is rows[1]["gold_accuracy_pct_low"] is None
    assert "| – | Own idea | `own` | – | – | – | – |" in table_markdown(toy, rows)


def test_the_footnote_states_the_rule_and_no_mean_over_folds():
    notes = provenance_notes(toy_results(), **HERE)
    assert notes[0].startswith(
        "Pooled out of fold: every figure judges the predictions of all 2 folds by subject at once"
    )
    assert "fewer than 30 people (here 6 in all with the rarest label)" in notes[0]
    assert "95% interval: percentiles of 2000 bootstrap resamples of people" in notes[0]
    assert "±" not in "".join(notes)


# Phantoms


def test_a_table_of_phantoms_has_no_value_of_the_papers_and_no_row_that_is_only_that(toy):
    ours = without_paper(toy)
    rows = build_table(ours, toy_results())
    text = table_markdown(ours, rows, provenance_notes(toy_results(), **HERE))
    assert "paper" not in table_csv(rows)
    assert [row["method"] for row in rows] == ["LAA-950", "Own idea"]
    assert "| Group | Method | Run | accuracy, % | within one, % |\n| --- | --- | --- | --: | --: |\n" in text
    assert "*paper*" not in text
    assert "0.44" not in text
    assert "- The cohort is of phantoms, synthetic scans with known disease: the paper's values" in text
    assert "*paper*" in table_markdown(toy, build_table(toy, toy_results()))
