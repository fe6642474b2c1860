import math

import numpy as np
import pytest
from scipy import stats

from drasclr_core.evaluate.significance import (
    NO_SPREAD,
    NO_SPREAD_OF_DIFFERENCES,
    NOT_PAIRED,
    TOO_FEW,
    compare_folds,
    corrected_t_test,
    t_test,
)

SIDES = ["greater", "two-sided"]


def evaluation(values, metric="r2", ids=None):
    """Return an evaluation of 10 subjects per fold."""
    count = len(values)
    folds = [
        {
            "fold": fold,
            "n_train": 10 * (count - 1),
            "n_test": 10,
            "ids": [f"{ids or 's'}{fold}-{place}" for place in range(10)],
            "metrics": {metric: value},
        }
        for fold, value in enumerate(values)
    ]
    return {"folds": folds}


@pytest.mark.parametrize("alternative", SIDES)
@pytest.mark.parametrize("seed", range(5))
def test_the_plain_test_is_scipys(alternative, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0.3, 1, 5), rng.normal(0, 0.5, 3 + seed)
    expected = stats.ttest_ind(a, b, alternative=alternative)
    found = t_test(a, b, alternative)
    assert found["t"] == pytest.approx(expected.statistic, rel=1e-12)
    assert found["p"] == pytest.approx(expected.pvalue, rel=1e-12)
    assert found["df"] == expected.df


def test_the_corrected_test_by_hand():
    # Mean 2, sample variance 1 (deviations -1, 0, 1 of 3 folds); n_test / n_train of 3 folds is 1/2.
    found = corrected_t_test(np.array([1.0, 2, 3]), 0.5, "greater")
    statistic = 2 / math.sqrt(1 / 3 + 1 / 2)
    assert found["t"] == pytest.approx(statistic, rel=1e-12)
    assert found["df"] == 2
    # Student's distribution with 2 degrees of freedom has a closed form.
    assert found["p"] == pytest.approx(0.5 - statistic / (2 * math.sqrt(2 + statistic**2)), rel=1e-12)
    both = corrected_t_test(np.array([1.0, 2, 3]), 0.5, "two-sided")
    assert both["p"] == pytest.approx(2 * found["p"], rel=1e-12)


def test_without_its_correction_it_is_the_paired_test():
    a, b = np.random.default_rng(0).normal(size=(2, 5))
    expected = stats.ttest_rel(a, b, alternative="greater")
    assert corrected_t_test(a - b, 0.0, "greater")["p"] == pytest.approx(expected.pvalue, rel=1e-12)


def test_the_correction_makes_it_harder_to_differ():
    differences = np.array([0.02, 0.05, 0.01, 0.04, 0.03])
    assert corrected_t_test(differences, 0.25, "greater")["p"] > corrected_t_test(differences, 0, "greater")["p"]


def test_one_side_of_a_worse_method_is_above_a_half():
    assert t_test(np.array([1.0, 2]), np.array([3.0, 5]), "greater")["p"] > 0.5
    assert corrected_t_test(np.array([-1.0, -2]), 1.0, "greater")["p"] > 0.5


def test_folds_are_paired_by_number_and_their_sizes_correct_the_variance():
    ours, theirs = evaluation([0.5, 0.6, 0.9]), evaluation([0.4, 0.55, 0.6])
    theirs["folds"].reverse()
    found = compare_folds(ours, theirs, "r2", "greater")
    assert found["folds"] == 3
    assert found["difference"] == pytest.approx(0.15)
    assert found["plain"] == t_test(np.array([0.5, 0.6, 0.9]), np.array([0.4, 0.55, 0.6]), "greater")
    differences = np.array([0.5 - 0.4, 0.6 - 0.55, 0.9 - 0.6])
    assert found["corrected"]["p"] == pytest.approx(corrected_t_test(differences, 10 / 20, "greater")["p"], rel=1e-9)


def test_a_fold_without_a_value_counts_for_neither():
    found = compare_folds(evaluation([0.5, None, 0.9, 0.7]), evaluation([0.4, 9.0, 0.6, 0.1]), "r2", "two-sided")
    without = compare_folds(evaluation([0.5, 0.9, 0.7]), evaluation([0.4, 0.6, 0.1]), "r2", "two-sided")
    assert found["folds"] == 3
    assert found["difference"] == without["difference"]
    assert found["plain"] == without["plain"]


@pytest.mark.parametrize("alternative", SIDES)
def test_a_method_against_itself_differs_by_nothing(alternative):
    same = evaluation([0.5, 0.6, 0.9])
    found = compare_folds(same, same, "r2", alternative)
    assert found["difference"] == 0
    assert found["plain"]["p"] == pytest.approx({"greater": 0.5, "two-sided": 1}[alternative])
    assert found["corrected"] == {"t": None, "df": None, "p": None, "reason": NO_SPREAD_OF_DIFFERENCES}


@pytest.mark.parametrize(
    ("ours", "theirs", "plain", "corrected"),
    [
        ([0.5] * 5, [0.5] * 5, NO_SPREAD, NO_SPREAD_OF_DIFFERENCES),
        ([0.7] * 5, [0.5] * 5, NO_SPREAD, NO_SPREAD_OF_DIFFERENCES),
        # A constant difference that rounding makes vary in the last bit.
        ([0.1 + 0.2, 0.4, 0.9], [0.2, 0.3, 0.8], None, NO_SPREAD_OF_DIFFERENCES),
        ([0.5], [0.4], TOO_FEW, TOO_FEW),
        ([None, None], [0.4, 0.5], TOO_FEW, TOO_FEW),
        ([], [], TOO_FEW, TOO_FEW),
    ],
)
def test_where_there_is_no_test_the_reason_is_given_and_no_nan(ours, theirs, plain, corrected):
    found = compare_folds(evaluation(ours), evaluation(theirs), "r2", "greater")
    assert (found["plain"]["reason"], found["corrected"]["reason"]) == (plain, corrected)
    for test in (found["plain"], found["corrected"]):
        assert (test["p"] is None) == (test["reason"] is not None)


def test_other_subjects_in_the_folds_leave_the_plain_test_alone():
    found = compare_folds(evaluation([0.5, 0.6, 0.9]), evaluation([0.4, 0.55, 0.6], ids="other"), "r2", "greater")
    assert found["plain"]["p"] is not None
    assert found["corrected"]["reason"] == NOT_PAIRED


def test_under_the_null_the_corrected_p_is_near_its_level():
    """Differences without any effect, that have in common what overlapping training sets are taken to share."""
    rng, count = np.random.default_rng(0), 5
    ratio = 1 / (count - 1)
    p = []
    for _ in range(300):
        shared = rng.normal(0, math.sqrt(ratio))
        p.append(corrected_t_test(shared + rng.normal(0, 1, count), ratio, "two-sided")["p"])
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09
