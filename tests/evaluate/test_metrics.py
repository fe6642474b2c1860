import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score

from drasclr_core.config.tasks import OTHER_TASKS, TASKS
from drasclr_core.evaluate.metrics import METRICS, accuracy, mean_and_sd, r2, within_one

CLASSES = st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 5)), min_size=1, max_size=40)


def test_r2_by_hand():
    # mean 3, total 4 + 0 + 4 = 8; residuals 1, 0, 1
    assert r2([1, 3, 5], [2, 3, 4]) == pytest.approx(1 - 2 / 8)


def test_r2_of_the_mean_is_zero_and_of_worse_is_negative():
    assert r2([1, 3, 5], [3, 3, 3]) == pytest.approx(0)
    assert r2([1, 3, 5], [5, 3, 1]) == pytest.approx(1 - 32 / 8)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (4.6, 1e-3), (-1e6, 50), (0, 1e-150)])
def test_r2_agrees_with_scikit_learn(seed, offset, scale):
    rng = np.random.default_rng(seed)
    truth = offset + scale * rng.normal(size=57).round(1)  # rounded: many ties
    prediction = truth + scale * rng.normal(size=57)
    assert r2(truth, prediction) == pytest.approx(r2_score(truth, prediction), rel=1e-9)


@pytest.mark.parametrize("prediction", [[0.1] * 7, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]])
def test_r2_of_a_constant_truth_is_none_even_if_its_rounded_mean_differs(prediction):
    truth = [0.1] * 7
    assert np.sum((np.array(truth) - np.mean(truth)) ** 2) > 0  # a plain division would give some number
    assert r2(truth, prediction) is None


def test_r2_of_one_sample_is_none():
    assert r2([2.0], [2.0]) is None


@settings(max_examples=60, deadline=None)
@given(CLASSES)
def test_accuracy_agrees_with_scikit_learn(pairs):
    truth, prediction = zip(*pairs, strict=True)
    assert accuracy(truth, prediction) == pytest.approx(accuracy_score(truth, prediction), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(CLASSES)
def test_within_one_agrees_with_a_plain_count(pairs):
    truth, prediction = zip(*pairs, strict=True)
    hits = sum(p in (t - 1, t, t + 1) for t, p in pairs)
    assert within_one(truth, prediction) == pytest.approx(hits / len(pairs))
    assert within_one(truth, prediction) >= accuracy(truth, prediction)


def test_within_one_of_unsigned_classes_does_not_wrap_around():
    assert within_one(np.array([0, 0, 3], np.uint8), np.array([1, 2, 2], np.uint8)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", METRICS.values())
@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([], [], "no sample"),
        ([1, 2], [1], "same length"),
        ([[1, 2]], [[1, 2]], r"must be \(n,\)"),
        ([1, np.nan], [1, 2], "finite"),
        ([1, 2], [1, np.inf], "finite"),
    ],
)
def test_metrics_refuse_what_they_cannot_judge(metric, truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        metric(truth, prediction)


def test_every_task_names_metrics_that_exist():
    judged = [*TASKS.values(), *(task for name, task in OTHER_TASKS.items() if name != "survival")]
    assert {name for task in judged for name in task.metrics} == set(METRICS)


def test_mean_and_sd_is_the_sample_sd_of_the_defined_values():
    values = [0.5, 0.6, 0.8, 0.1]
    assert mean_and_sd([0.5, None, 0.6, 0.8, 0.1]) == (pytest.approx(0.5), pytest.approx(statistics.stdev(values)))
    assert mean_and_sd([0.5, None]) == (0.5, None)
    assert mean_and_sd([None]) == (None, None)
