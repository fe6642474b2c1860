"""The Cox model's columns and penalties, and what figures are drawn from, against lifelines and by hand."""

import numpy as np
import pandas as pd
import pytest

from drasclr_core.evaluate.concordance import Outcome
from drasclr_core.evaluate.survival_design import Penalties, Sample, fit_design
from drasclr_core.evaluate.survival_groups import calibration, log_rank_test, risk_groups
from drasclr_core.evaluate.survival_model import PENALTIES, choose_penalties, fit_cox, partial_log_likelihood

PEOPLE = pd.DataFrame(
    {
        "age_years": [50.0, 60, 70, 65, 55, 45],
        "sex": ["F", "M", "M", "M", "F", "M"],
        "race": ["a", "b", "b", "c", "b", "a"],
        "bode": [0.0, 1, 3, 7, 2, 0],
    },
    index=[f"s{k}" for k in range(6)],
)
EACH = np.arange(6)
OUTCOME = Outcome(np.array([5.0, 3, 3, 1, 4, 6]), np.array([False, True, True, True, False, False]))


def sample(features=None):
    return Sample(PEOPLE, np.zeros((6, 0)) if features is None else features, OUTCOME, EACH)


def simulated(n=150, seed=0, features=0, effect=1.0):
    rng = np.random.default_rng(seed)
    age, noise = rng.normal(60, 10, n), rng.normal(size=(n, features))
    death = 1000 * rng.exponential(np.exp(-effect * (age - 60) / 10))
    end = rng.uniform(200, 2000, n)
    outcome = Outcome(np.ceil(np.minimum(death, end)), death <= end)
    return Sample(pd.DataFrame({"age_years": age, "sex": rng.choice(["F", "M"], n)}), noise, outcome, np.arange(n))


def test_columns_by_hand():
    design = fit_design(sample())
    assert design.names == ("age_years", "bode", "sex=F", "race=a", "race=c")  # M and b are most frequent
    assert design.relative_penalty.tolist() == [0, 1, 0, 0, 0]
    columns = design.columns(sample())
    np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(columns.std(axis=0, ddof=1), 1)
    assert design.penalties(Penalties(0.5, 2.0)).tolist() == [0.5, 2, 0.5, 0.5, 0.5]


def test_what_is_constant_or_unseen_in_training_has_no_column():
    training = sample(np.ones((6, 2))).of(np.array([1, 1, 1, 0, 0, 0], dtype=bool))
    design = fit_design(training)
    assert design.names == ("age_years", "bode", "sex=F", "race=a")
    unseen = design.columns(sample(np.ones((6, 2))))[3]
    reference = design.columns(sample(np.ones((6, 2))))[1]
    assert unseen[3] == reference[3]  # race c falls to the reference, b


def test_components_are_ridge_on_standardised_features():
    features = np.random.default_rng(1).normal(size=(6, 3)) @ np.diag([10.0, 1.0, 0.1])
    design = fit_design(Sample(PEOPLE[[]], features, OUTCOME, EACH))
    standard = (features - features.mean(axis=0)) / features.std(axis=0, ddof=1)
    columns = design.columns(Sample(PEOPLE[[]], features, OUTCOME, EACH))
    variances = 1 / design.relative_penalty  # over the first component's
    shrunk = columns * np.sqrt(variances)
    gram = standard @ standard.T
    np.testing.assert_allclose(shrunk @ shrunk.T, gram / np.linalg.eigvalsh(gram).max() * 5, atol=1e-9)


def test_features_beyond_the_subjects_or_copies_of_each_other_add_no_component():
    rng = np.random.default_rng(2)
    wide = fit_design(Sample(PEOPLE[[]], rng.normal(size=(6, 40)), OUTCOME, EACH))
    assert len(wide.names) == 5
    one = rng.normal(size=(6, 1)).astype(np.float32).astype(float)
    assert len(fit_design(Sample(PEOPLE[[]], np.hstack([one, 2 * one, -one]), OUTCOME, EACH)).names) == 1


def test_the_fit_equals_lifelines_on_the_same_columns():
    from lifelines import CoxPHFitter

    people = simulated()
    model = fit_cox(people, seed=0)
    frame = pd.DataFrame({"age": people.covariates["age_years"], "f": (people.covariates["sex"] == "F") * 1.0})
    frame = frame.assign(t=people.outcome.time_days, e=people.outcome.died)
    fitted = CoxPHFitter(penalizer=model.penalties.confounders).fit(frame, "t", "e")
    np.testing.assert_allclose(model.risk(people), fitted.predict_log_partial_hazard(frame), atol=1e-6)
    day = people.outcome.time_days[people.outcome.died][0]  # between two deaths lifelines would interpolate
    expected = fitted.predict_survival_function(frame, times=[day]).to_numpy()[0]
    np.testing.assert_allclose(model.survival(model.risk(people), day), expected, atol=1e-6)


def test_partial_likelihood_by_hand():
    risk = np.log(np.array([1.0, 2, 3, 4, 5, 6]))
    # At day 1 all are at risk (sum 21), at day 3 all but the one who died (17), twice.
    expected = np.log(4 / 21) + np.log(2 / 17) + np.log(3 / 17)
    assert partial_log_likelihood(risk, OUTCOME) == pytest.approx(expected)


def test_noise_is_shrunk_away_and_a_strong_effect_is_not():
    noise = simulated(features=30, seed=3, effect=0.0)
    candidates = [Penalties(0.1, penalty) for penalty in PENALTIES]
    assert choose_penalties(noise, candidates, seed=0).others >= 1
    strong = simulated(seed=4, effect=1.5)
    confounders = [Penalties(penalty) for penalty in PENALTIES]
    assert choose_penalties(strong, confounders, seed=0).confounders <= 0.01


def test_scans_of_a_person_share_an_inner_fold():
    """Each person is there twice: what tells them apart foretells the other scan, and nobody else."""
    one = simulated(n=60, features=20, effect=0.0)
    twice = np.tile(np.arange(60), 2)
    outcome, noise = one.outcome.of(twice), one.features[twice]
    chosen = {}
    for name, persons in (("persons", twice), ("scans", np.arange(120))):
        training = Sample(pd.DataFrame(index=range(120)), noise, outcome, persons)
        chosen[name] = choose_penalties(training, [Penalties(1.0, 0.01), Penalties(1.0, 10.0)], seed=0).others
    assert chosen == {"persons": 10.0, "scans": 0.01}


@pytest.mark.parametrize("seed", range(5))
def test_those_who_died_are_dealt_evenly_to_the_inner_folds(seed):
    """Ten of a hundred died, all of them among the first: each of five inner folds holds out two."""
    died, held_out = np.arange(100) < 10, []

    class Watched(Sample):
        def of(self, chosen):
            held_out.append((np.sum(~chosen), np.sum(died & ~chosen)))
            return super().of(chosen)

    outcome = Outcome(np.arange(100.0) + 1, died)
    training = Watched(pd.DataFrame(index=range(100)), np.zeros((100, 0)), outcome, np.arange(100))
    choose_penalties(training, [Penalties(1.0)], seed)
    assert held_out == [(20, 2)] * 5


def test_of_equal_penalties_the_last_is_taken():
    nothing = Sample(pd.DataFrame(index=range(6)), np.zeros((6, 0)), OUTCOME, EACH)
    assert choose_penalties(nothing, [Penalties(1.0), Penalties(2.0)], seed=0) == Penalties(2.0)
    model = fit_cox(nothing, seed=0)
    assert model.risk(nothing).tolist() == [0] * 6
    # Breslow without covariates is Nelson and Aalen's: 1 of 6 at day 1, 2 of 5 at day 3.
    np.testing.assert_allclose(model.survival(np.zeros(1), 3.5), np.exp(-(1 / 6 + 2 / 5)))


def outcomes(seed=0, n=90):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death, end = rng.exponential(np.exp(-risk)), rng.exponential(1.5, n)
    return risk, Outcome(np.ceil(10 * np.minimum(death, end)), death <= end)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_log_rank_equals_lifelines(groups):
    from lifelines.statistics import multivariate_logrank_test

    risk, outcome = outcomes()
    place = np.digitize(risk, np.quantile(risk, np.arange(1, groups) / groups))
    theirs = multivariate_logrank_test(outcome.time_days, place, outcome.died)
    ours = log_rank_test(place, outcome)
    assert ours["statistic"] == pytest.approx(theirs.test_statistic, rel=1e-9)
    assert ours["p"] == pytest.approx(theirs.p_value, rel=1e-9)
    assert ours["degrees_of_freedom"] == groups - 1


def test_risk_groups_are_tertiles_lowest_risk_first():
    risk, outcome = outcomes()
    found = risk_groups(risk, outcome)
    assert [group["n"] for group in found["groups"]] == [30, 30, 30]
    low, high = found["groups"][0], found["groups"][2]
    assert low["survival"][-1] > high["survival"][-1]
    assert sum(group["deaths"] for group in found["groups"]) == outcome.died.sum()
    assert high["at_risk"][0] == 30


def test_equal_risks_are_one_group_without_a_test():
    _, outcome = outcomes()
    found = risk_groups(np.zeros(90), outcome)
    assert [group["n"] for group in found["groups"]] == [90]
    assert found["log_rank"] is None
    nobody_died = Outcome(outcome.time_days, np.zeros(90, bool))
    assert log_rank_test(np.arange(90) % 3, nobody_died) is None


def test_calibration_by_hand():
    survival = np.array([0.9, 0.8, 0.3, 0.2])
    outcome = Outcome(np.array([10.0, 12, 2, 9]), np.array([False, False, True, False]))
    sure, doubtful = calibration(survival, outcome, 8.0, groups=2)
    assert (sure["n"], sure["deaths"], sure["predicted"]) == (2, 0, pytest.approx(0.85))
    assert (sure["observed"], sure["low"], sure["high"]) == (1, None, None)
    assert (doubtful["deaths"], doubtful["predicted"], doubtful["observed"]) == (1, pytest.approx(0.25), 0.5)
    assert doubtful["low"] < 0.5 < doubtful["high"]
    assert calibration(survival, outcome, 11.0, groups=2)[1]["observed"] is None  # nobody followed so long


def test_calibrations_interval_equals_lifelines():
    from lifelines import KaplanMeierFitter

    risk, outcome = outcomes(1)
    (group,) = calibration(np.full(90, 0.5), outcome, 6.0)
    fitted = KaplanMeierFitter().fit(outcome.time_days, outcome.died)
    low, high = fitted.confidence_interval_.loc[:6.0].iloc[-1]
    assert (group["low"], group["high"]) == (pytest.approx(low), pytest.approx(high))
