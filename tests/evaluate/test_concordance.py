"""Uno's and Harrell's concordance, against scikit-survival, lifelines, a plain loop, and by hand."""

import numpy as np
import pytest

from drasclr_core.evaluate.concordance import Outcome, censoring_curve, concordance, survival_curve, uno_weights

# Five subjects, countable: the deaths are at 1, 3 and 3 days.
FIVE = Outcome(np.array([1.0, 2, 3, 3, 5]), np.array([True, False, True, True, False]))


def uno(risk, outcome, horizon, training=None):
    weights = uno_weights(outcome.time_days, training or outcome)
    return concordance(risk, outcome, [horizon], weights)[0, 0]


def harrell(risk, outcome, horizon=np.inf):
    return concordance(risk, outcome, [horizon])[0, 0]


def cohort(seed, n=80, censored=0.5, days=None, levels=None):
    """Return risk and outcome; `days` rounds times to so many, `levels` risks to so many."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death = rng.exponential(np.exp(-risk))
    time = np.minimum(death, rng.exponential((1 - censored) / censored, n))
    died = time == death
    if levels:
        risk = np.round(risk * levels / 4)
    return risk, Outcome(np.ceil(time * days) if days else time, died)


def brute_force(risk, outcome, horizon, weights):
    concordant = comparable = 0.0
    for i in range(len(risk)):
        for j in range(len(risk)):
            longer = outcome.time_days[j] > outcome.time_days[i] or (
                outcome.time_days[j] == outcome.time_days[i] and not outcome.died[j]
            )
            if outcome.died[i] and outcome.time_days[i] < horizon and longer:
                comparable += weights[i]
                concordant += weights[i] * (1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0)
    return concordant / comparable


def test_harrell_by_hand():
    # Death at 1 has 4 pairs; each death at 3 has one, with the subject censored at 5.
    risk = np.array([4.0, 5, 3, 0, 1])
    assert harrell(risk, FIVE) == pytest.approx((3 + 1 + 0) / 6)
    assert harrell(np.array([4.0, 5, 1, 0, 1]), FIVE) == pytest.approx((3 + 0.5 + 0) / 6)


def test_truncation_by_hand():
    risk = np.array([4.0, 5, 3, 0, 1])
    np.testing.assert_allclose(concordance(risk, FIVE, [1.5, 3.0, 3.5])[0], [3 / 4, 3 / 4, 4 / 6])
    assert np.isnan(harrell(risk, FIVE, 1.0))  # a death at the horizon is not before it


def test_one_dead_and_one_censored_at_the_same_time_are_comparable():
    tie = Outcome(np.array([2.0, 2.0]), np.array([True, False]))
    assert harrell(np.array([1.0, 0.0]), tie) == 1
    assert np.isnan(harrell(np.array([1.0, 0.0]), Outcome(tie.time_days, np.array([True, True]))))


def test_uno_weights_by_hand():
    # G: at 2 days 1 of 4 is censored, at 3 nobody, at 5 the last.
    np.testing.assert_allclose(censoring_curve(FIVE).share, [1, 3 / 4, 3 / 4, 0])
    weights = uno_weights(FIVE.time_days, FIVE)
    np.testing.assert_allclose(weights[:4], [1, 16 / 9, 16 / 9, 16 / 9])
    assert np.isnan(weights[4])
    risk = np.array([4.0, 5, 3, 0, 1])
    assert uno(risk, FIVE, 4.0) == pytest.approx((3 + 16 / 9) / (4 + 2 * 16 / 9))


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"censored": 0.9, "n": 150},
        {"days": 6},
        {"levels": 4},
        {"days": 4, "levels": 3},
        {"censored": 0.85, "days": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(5))
def test_uno_equals_scikit_survival(kind, seed):
    metrics = pytest.importorskip("sksurv.metrics")
    from sksurv.util import Surv

    risk, outcome = cohort(seed, **kind)
    _, training = cohort(seed + 100, **{**kind, "n": 300})
    structured = [Surv.from_arrays(o.died, o.time_days) for o in (training, outcome)]
    compared = 0
    for percentile in (25, 50, 75):
        horizon = np.percentile(outcome.time_days[~outcome.died], percentile)
        ours = uno(risk, outcome, horizon, training)
        if np.isnan(ours):
            continue
        theirs = metrics.concordance_index_ipcw(*structured, risk, tau=horizon)[0]
        assert ours == pytest.approx(theirs, abs=1e-10)
        assert ours == pytest.approx(brute_force(risk, outcome, horizon, uno_weights(outcome.time_days, training)))
        compared += 1
    assert compared >= 1


@pytest.mark.parametrize("kind", [{}, {"censored": 0.9}, {"days": 6}, {"levels": 4}, {"days": 4, "levels": 3}], ids=str)
def test_harrell_equals_lifelines(kind):
    from lifelines.utils import concordance_index

    risk, outcome = cohort(3, **kind)
    theirs = concordance_index(outcome.time_days, -risk, outcome.died)  # lifelines: higher lives longer
    assert harrell(risk, outcome) == pytest.approx(theirs, abs=1e-12)


def test_survival_curve_equals_lifelines():
    from lifelines import KaplanMeierFitter

    _, outcome = cohort(1, days=7)
    fitted = KaplanMeierFitter().fit(outcome.time_days, outcome.died)
    times = np.linspace(0, 40, 81)
    np.testing.assert_allclose(survival_curve(outcome).at(times), fitted.survival_function_at_times(times), atol=1e-12)


def test_a_resample_is_the_concordance_of_the_drawn_subjects():
    risk, outcome = cohort(5, n=30, days=6, levels=4)
    weights = np.random.default_rng(0).uniform(1, 3, 30)
    draws = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), size=4)
    ours = concordance(risk, outcome, [3.0, 5.0], weights, draws)
    for row, draw in zip(ours, draws, strict=True):
        drawn = np.repeat(np.arange(30), draw)
        expected = concordance(risk[drawn], outcome.of(drawn), [3.0, 5.0], weights[drawn])[0]
        np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    risk, outcome = cohort(6, days=8, levels=5)
    whole = concordance(risk, outcome, [2.0, 6.0])
    monkeypatch.setattr("drasclr_core.evaluate.concordance._BLOCK", 200)
    np.testing.assert_allclose(concordance(risk, outcome, [2.0, 6.0]), whole, rtol=1e-14)


def test_nobody_comparable_and_nothing_to_weigh_with_are_undefined():
    alive = Outcome(np.arange(1.0, 4), np.zeros(3, bool))
    assert np.isnan(harrell(np.zeros(3), alive))
    assert np.isnan(harrell(np.empty(0), Outcome(np.empty(0), np.empty(0, bool))))
    short = Outcome(np.array([1.0, 2]), np.array([False, False]))
    later = Outcome(np.array([1.0, 3, 4]), np.array([True, True, False]))
    values = concordance(np.array([2.0, 1, 0]), later, [2.0, 4.0], uno_weights(later.time_days, short))[0]
    assert values[0] == 1
    assert np.isnan(values[1])  # the death at 3 days came when nobody of the training subjects was left


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="risk"):
        concordance(np.zeros(4), FIVE, [1.0])
    with pytest.raises(ValueError, match="finite"):
        concordance(np.full(5, np.nan), FIVE, [1.0])
    with pytest.raises(ValueError, match="died bool"):
        Outcome(np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="time_days must be finite"):
        Outcome(np.array([np.nan]), np.array([True]))
