"""The linear model between features and label, and the choice of its penalty."""

import logging
import warnings
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from drasclr_core.config.tasks import Task

logger = logging.getLogger(__name__)

# Ridge's penalty, and the inverse of logistic regression's C, on standardised features.
PENALTIES = tuple(10.0**exponent for exponent in range(-2, 6))
INNER_FOLDS = 5
MAX_ITERATIONS = 5000


def fit_readout(
    task: Task, penalty: float | npt.NDArray[np.float64], inputs: npt.NDArray, truth: npt.NDArray
) -> tuple[Pipeline, bool]:
    """Fit the scaler and the linear model of a task.

    Parameters
    ----------
    task : Task
        A regression takes least squares (of least norm where features outnumber subjects) or ridge, the others
        multinomial logistic regression; a single class in `truth` is what is then predicted.
    penalty : float
        Of the squared weights, beside the *summed* loss; 0 for none.
    inputs : (n, F) array
        Features, any scale.
    truth : (n,) array
        Labels; of a regression also (n, T), T labels at once, `penalty` then (T,) or 0.

    Returns
    -------
    model : Pipeline
        With scikit-learn's `predict`.
    converged : bool
        Whether the optimiser did.
    """
    model = make_pipeline(*_scaling(task, inputs), _estimator(task, penalty, classes=len(np.unique(truth))))
    return model, _fit(model, inputs, truth)


def choose_penalty(
    task: Task, inputs: npt.NDArray, truth: npt.NDArray, seed: int, clusters: npt.NDArray | None = None
) -> Any:
    """Return the penalty of least squared error or log loss in an inner cross-validation; of equals the strongest.

    Parameters
    ----------
    task : Task
        As for `fit_readout`.
    inputs : (n, F) array
        Features of the training folds.
    truth : (n,) array
        Labels of the training folds; of a regression also (n, T).
    seed : int
        Of the inner folds.
    clusters : (n,) array, optional
        The subject or person of each row: their rows stay in one inner fold. By default each row is a subject.

    Returns
    -------
    float; or (T,) array, one of each label
    """
    names, cluster = np.unique(np.arange(len(truth)) if clusters is None else clusters, return_inverse=True)
    if len(names) < 2:
        return np.full(truth.shape[1:], PENALTIES[-1])[()]
    inner = KFold(min(INNER_FOLDS, len(names)), shuffle=True, random_state=seed).split(names)
    splits = [(np.isin(cluster, train), np.isin(cluster, test)) for train, test in inner]

    losses = _ridge_losses if task.kind == "regression" else partial(_classification_losses, task)
    by_split = [losses(inputs[train], truth[train], inputs[test], truth[test]) for train, test in splits]
    total = np.sum(by_split, axis=0)
    return np.array(PENALTIES[::-1])[np.argmin(total[::-1], axis=0)]


def _scaling(task: Task, inputs: npt.NDArray) -> list[Any]:
    """Return what is done to features first: a scaler; of more features than rows also a rotation onto their span.

    The weights of a penalised model lie in the span of its rows: the model is the same, and its search much shorter.
    """
    wide = task.kind != "regression" and 1 < inputs.shape[0] < inputs.shape[1]
    return [StandardScaler(), PCA(svd_solver="full")] if wide else [StandardScaler()]


def _fit(model: Any, inputs: npt.NDArray, truth: npt.NDArray) -> bool:
    """Fit a model in place; return whether its optimiser converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(inputs, truth)
    for warning in caught:
        logger.debug("%s", warning.message)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _estimator(task: Task, penalty: float | npt.NDArray[np.float64], classes: int) -> Any:
    if task.kind == "regression":
        return Ridge(alpha=penalty) if np.any(penalty) else LinearRegression()
    if classes < 2:
        return DummyClassifier(strategy="most_frequent")
    return LogisticRegression(C=1 / penalty if penalty else np.inf, max_iter=MAX_ITERATIONS)


def _ridge_losses(
    inputs: npt.NDArray, truth: npt.NDArray, test_inputs: npt.NDArray, test_truth: npt.NDArray
) -> npt.NDArray[np.float64]:
    """Return the squared error of `fit_readout` for each of `PENALTIES`, (P,) or (P, T), by one decomposition."""
    scaler = StandardScaler().fit(inputs)
    x, z, mean = scaler.transform(inputs), scaler.transform(test_inputs), truth.mean(axis=0)
    few = len(x) < x.shape[1]  # the decomposition is of the smaller product
    values, vectors = np.linalg.eigh(x @ x.T if few else x.T @ x)
    basis = (z @ x.T if few else z) @ vectors
    weights = vectors.T @ (truth - mean if few else x.T @ (truth - mean))
    predictions = [mean + basis @ (weights.T / (values + penalty)).T for penalty in PENALTIES]
    return np.array([np.sum((test_truth - prediction) ** 2, axis=0) for prediction in predictions])


def _classification_losses(
    task: Task, inputs: npt.NDArray, truth: npt.NDArray, test_inputs: npt.NDArray, test_truth: npt.NDArray
) -> npt.NDArray[np.float64]:
    """Return the log loss of `fit_readout` for each of `PENALTIES`."""
    scaling, classes = make_pipeline(*_scaling(task, inputs)), len(np.unique(truth))
    x, z = scaling.fit_transform(inputs), scaling.transform(test_inputs)
    models = [_estimator(task, penalty, classes) for penalty in PENALTIES]
    for model in models:
        _fit(model, x, truth)
    return np.array([_log_loss(model, z, test_truth) for model in models])


def _log_loss(model: Any, inputs: npt.NDArray, truth: npt.NDArray) -> float:
    # A class that the inner training folds lack costs the same under every penalty.
    given = truth[:, None] == model.classes_[None]
    probability = np.sum(model.predict_proba(inputs), axis=1, where=given)
    return float(-np.log(np.clip(probability, 1e-12, 1)).sum())
