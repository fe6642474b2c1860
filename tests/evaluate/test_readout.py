"""The linear model between features and label, against a grid search and an optimiser of its own likelihood."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drasclr_core.config.tasks import TASKS
from drasclr_core.evaluate.readout import INNER_FOLDS, PENALTIES, choose_penalty, fit_readout


def test_plain_classifier_reaches_the_likelihood_of_an_independent_optimiser():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 2))
    truth = np.digitize(inputs[:, 0] + rng.logistic(size=200), [-1, 1])  # far from separable

    def loss(weights):
        logits = np.column_stack([np.ones(200), inputs]) @ np.column_stack([np.zeros(3), weights.reshape(3, 2)])
        return np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(200), truth])

    model, converged = fit_readout(TASKS["paraseptal"], 0.0, inputs, truth)
    mine = -np.mean(np.log(model.predict_proba(inputs)[np.arange(200), truth]))
    assert converged
    assert mine == pytest.approx(minimize(loss, np.zeros(6), tol=1e-9).fun, abs=1e-5)


def test_penalised_regression_agrees_with_a_grid_search():
    rng = np.random.default_rng(1)
    inputs, truth = rng.normal(size=(41, 60)), rng.normal(size=41)
    truth += inputs[:, :3].sum(axis=1)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": PENALTIES},
        scoring=lambda model, x, y: -np.sum((model.predict(x) - y) ** 2) * INNER_FOLDS / 41,
        cv=KFold(INNER_FOLDS, shuffle=True, random_state=7),
    ).fit(inputs, truth)
    assert PENALTIES[0] < search.best_params_["ridge__alpha"] < PENALTIES[-1]  # a choice, not the grid's end
    assert choose_penalty(TASKS["log_fev1pp"], inputs, truth, seed=7) == search.best_params_["ridge__alpha"]


def test_penalised_classification_of_many_features_agrees_with_a_grid_search():
    rng = np.random.default_rng(1)
    inputs, task = rng.normal(size=(40, 70)) * rng.uniform(0.1, 9, 70), TASKS["paraseptal"]
    truth = np.digitize((inputs[:, :4] / inputs[:, :4].std(axis=0)).sum(axis=1), [-1, 1]).astype(float)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(tol=1e-9, max_iter=10000)),
        {"logisticregression__C": [1 / penalty for penalty in PENALTIES]},
        scoring=lambda model, x, y: -log_loss(y, model.predict_proba(x), normalize=False, labels=model.classes_),
        cv=KFold(INNER_FOLDS, shuffle=True, random_state=7),
    ).fit(inputs, truth)
    best = 1 / search.best_params_["logisticregression__C"]
    assert PENALTIES[0] < best < PENALTIES[-1]  # a choice, not the grid's end
    assert choose_penalty(task, inputs, truth, seed=7) == pytest.approx(best)
    model, converged = fit_readout(task, best, inputs, truth)
    new = rng.normal(size=(30, 70)) * 5
    assert converged
    np.testing.assert_allclose(model.predict_proba(new), search.predict_proba(new), atol=1e-3)


def test_penalty_is_strong_for_noise_and_weak_for_signal():
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(80, 5))
    noise, signal = rng.integers(0, 3, size=80), np.digitize(inputs[:, 0], [-0.5, 0.5])
    task = TASKS["paraseptal"]
    assert choose_penalty(task, inputs, signal, seed=0) < 0.1
    assert choose_penalty(task, inputs, noise, seed=0) > 10


@pytest.mark.parametrize("name", ["log_fev1pp", "paraseptal"])
def test_of_equal_penalties_the_strongest_is_taken(name):
    truth = np.arange(30) % 3.0
    assert choose_penalty(TASKS[name], np.ones((30, 2)), truth, seed=0) == PENALTIES[-1] == max(PENALTIES)
    assert choose_penalty(TASKS[name], np.ones((30, 2)), truth, seed=0, clusters=np.zeros(30)) == PENALTIES[-1]
