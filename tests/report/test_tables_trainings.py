"""Rows of runs with several trainings."""

import pytest
from toy_tables import result, toy_file, toy_results

from drasclr_core.base.errors import InputError
from drasclr_core.config.table_specs import load_experiment
from drasclr_core.report.tables import build_table, provenance_notes, table_markdown


@pytest.fixture
def toy(tmp_path):
    return load_experiment(toy_file(tmp_path))


def three_trainings():
    """Return `toy_results` with three trainings of `own`, in which the features of one tell no grade."""
    results = toy_results()
    for number, (r2, sd, accuracy) in enumerate([(0.25, 0.1, 0.5), (0.5, 0.1, 0.75), (0.15, 0.4, None)]):
        name = f"own/seed-{number}" if number else "own"
        results[name, "log_fev1pp"] = result({"r2": (r2, sd)})
        results[name, "gold"] = result({"accuracy": (accuracy, 0.125), "within_one": (accuracy, None)}, n=350)
    return results


def test_a_row_of_several_trainings_by_hand(toy):
    rows = build_table(toy, three_trainings())
    lone, own, absent = rows
    assert [row["trainings"] for row in rows] == [1, 3, None]
    assert own["log_fev1pp_r2_mean"] == pytest.approx((0.25 + 0.5 + 0.15) / 3)
    assert own["log_fev1pp_r2_sd"] == pytest.approx((0.1 + 0.1 + 0.4) / 3)  # over folds: the mean of what each has
    # Deviations of 0.25, 0.5, 0.15 from 0.3: -0.05, 0.2, -0.15; divided by n - 1 = 2.
    assert own["log_fev1pp_r2_training_sd"] == pytest.approx(((0.05**2 + 0.2**2 + 0.15**2) / 2) ** 0.5)
    assert own["gold_accuracy_pct_mean"] is own["gold_accuracy_pct_training_sd"] is None  # not that of the other two
    assert own["gold_accuracy_pct_sd"] == 12.5
    assert own["gold_accuracy_pct_n"] == 350
    assert lone["log_fev1pp_r2_training_sd"] is absent["log_fev1pp_r2_training_sd"] is None
    text = table_markdown(toy, rows)
    assert "| – | Own idea | `own` | 0.30 ± 0.20 (± 0.18 over 3 trainings) | – |" in text
    assert "| – | LAA-950 | `laa950` | 0.00 ± 0.01 | 0.44 ± 0.02 |" in text


def test_the_spread_over_trainings_is_explained_where_there_is_one():
    settings = {"cohort": "phantom", "config_hash": "abc"}
    plain, several = (provenance_notes(results, **settings) for results in (toy_results(), three_trainings()))
    (note,) = set(several) - set(plain)
    assert "in parentheses stands the sample s.d. of the trainings' values" in note


def test_a_training_that_lacks_an_evaluation_is_named(toy):
    results = three_trainings()
    del results["own/seed-2", "gold"]
    with pytest.raises(InputError, match=r"lacks evaluations \(run / task\): own/seed-2 / gold$"):
        build_table(toy, results)
