"""Bootstrap over subjects: against metrics of the samples written out, and by hand."""

import numpy as np
import pytest

from drasclr_core.evaluate.bootstrap import SubjectSums, draw_subjects, pooled_r2, sum_by_subject, with_interval
from drasclr_core.evaluate.metrics import r2


def samples(seed=0, subjects=7, patches=40):
    rng = np.random.default_rng(seed)
    subject = np.sort(np.append(np.arange(subjects), rng.integers(0, subjects, patches)))
    truth = rng.uniform(size=len(subject))
    return subject, truth, truth + rng.normal(0, 0.2, len(subject))


def resampled_r2(subject, truth, prediction, draws):
    errors = sum_by_subject((truth - prediction) ** 2, subject, draws.shape[1])
    return pooled_r2(errors, SubjectSums.of(truth, subject, draws.shape[1]), draws)


def test_r2_of_a_resample_is_that_of_the_drawn_subjects_samples_written_out():
    subject, truth, prediction = samples()
    draws = draw_subjects(7, 20, seed=3)
    for row, value in zip(draws, resampled_r2(subject, truth, prediction, draws), strict=True):
        drawn = np.concatenate([np.flatnonzero(subject == s) for s in np.repeat(np.arange(7), row)])
        assert value == pytest.approx(r2(truth[drawn], prediction[drawn]), rel=1e-9)


def test_patches_that_stand_twice_do_not_shrink_the_spread():
    subject, truth, prediction = samples()
    draws = draw_subjects(7, 200, seed=0)
    once = resampled_r2(subject, truth, prediction, draws)
    twice = resampled_r2(*(np.concatenate([values, values]) for values in (subject, truth, prediction)), draws)
    np.testing.assert_allclose(once, twice, rtol=1e-12)
    assert once.std() > 0.01


def test_each_resample_draws_as_many_subjects_as_there_are():
    draws = draw_subjects(50, 400, seed=1)
    assert draws.shape == (400, 50)
    assert (draws.sum(axis=1) == 50).all()
    assert np.var(draws) == pytest.approx(1 - 1 / 50, rel=0.05)  # of a multinomial with equal shares
    assert (draws == draw_subjects(50, 400, seed=1)).all()
    assert (draws != draw_subjects(50, 400, seed=2)).any()


def test_a_resample_without_variation_has_no_r2():
    subject, truth = np.array([0, 0, 1, 1]), np.array([0.3, 0.3, 0.3, 0.5])
    values = resampled_r2(subject, truth, truth, np.array([[2, 0], [0, 2], [0, 0]]))
    np.testing.assert_array_equal(values, [np.nan, 1, np.nan])


def test_rounding_is_no_variation_and_a_small_variation_is_no_rounding():
    subject = np.zeros(7, np.int64)
    for value in np.linspace(0.1, 0.9, 9):  # seven times the same: the sums of squares differ in their last digits
        assert np.isnan(resampled_r2(subject, np.full(7, value), np.zeros(7), np.array([[3]])))
    truth, prediction = np.array([1.0, 1.0001]), np.array([1.0, 1.0])
    # Residuals 0 and 1e-4 around the one, -0.5e-4 and 0.5e-4 around the mean.
    values = resampled_r2(np.zeros(2, np.int64), truth, prediction, np.array([[1]]))
    assert values == pytest.approx(1 - 1 / 0.5, rel=1e-3)


def test_intervals_by_hand():
    values = np.append(np.arange(1001.0), [np.nan, np.nan])
    expected = {"estimate": 500, "low": 25, "high": 975, "undefined_resamples": 2}
    assert with_interval(500.0, values) == pytest.approx(expected)
    nothing = {"estimate": None, "low": None, "high": None, "undefined_resamples": 2}
    assert with_interval(np.nan, values) == nothing
    assert with_interval(1.0, np.array([np.nan, np.nan])) == nothing
