"""Is there emphysema in a patch? Detectors of one subtype against healthy patches, judged fold by fold.

A patch is positive where at least a quarter of its box's voxels have a probability above one half (paper section
4.3.1). Persons never cross folds: a patch is in the fold of its subject.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from drasclr_core.cohort.boxes import HEALTHY
from drasclr_core.config.tasks import OTHER_TASKS, Task
from drasclr_core.detect.patches import BoxPatches
from drasclr_core.evaluate.metrics import METRICS, mean_and_sd
from drasclr_core.evaluate.readout import choose_penalty, fit_readout

logger = logging.getLogger(__name__)

POSITIVE_FRACTION = 0.25
"""Share of a box's voxels with a probability above `THRESHOLD` that makes it positive."""
THRESHOLD = 0.5

_TAKES_BOTH = ("f1", "precision")
"""Metrics that say nothing in a fold with patches of one kind."""

DISEASED = Task("subtype", "binary", ("accuracy",), classes=(0, 1))
"""The label that a readout of patches predicts."""

Mask = npt.NDArray[np.bool_]
Predict = Callable[[Mask, Mask, int], tuple[npt.NDArray[Any], dict[str, Any]]]
"""Of (which patches to learn from, which to predict, the fold that holds them): the predictions, 0 or 1, and what else
is to be said of the fold."""


def is_positive(probability: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> Mask:
    """Return whether each box is positive.

    Parameters
    ----------
    probability : (M, K) array
        Of K windows of each of M boxes.
    weights : (K,) array
        Share of the box's voxels that each window stands for.

    Returns
    -------
    (M,) bool array

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.3.1.
    """
    above = (np.asarray(probability) > THRESHOLD) @ np.asarray(weights)
    # A sum of shares that is a quarter may come out a rounding error below.
    return np.asarray(above >= POSITIVE_FRACTION - 1e-9)


def linear_detector(
    patches: BoxPatches,
    labels: Mask,
    features: npt.NDArray[np.floating],
    windows: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating],
    *,
    readout: str,
    seed: int,
) -> Predict:
    """Return a logistic regression on the features of patches that is slid over the boxes.

    Parameters
    ----------
    patches : BoxPatches
        M of them; only whose they are is used.
    labels : (M,) bool array
        Which are diseased.
    features : (M, F) array
        Of the patches, to learn from.
    windows : (M, K, F) array
        Of the windows of each box, to predict from.
    weights : (K,) array
        As for `is_positive`; K = 1 with `windows` the patches' own features classifies the patches themselves.
    readout : "plain" or "penalised"
        As for `probes.evaluate_task`; inner folds are by person.
    seed : int
        Of the inner folds.
    """

    def predict(train: Mask, test: Mask, fold: int) -> tuple[Mask, dict[str, Any]]:
        if not test.any():
            return np.empty(0, bool), {"penalty": None, "converged": True}
        persons = patches.persons[train]
        model, penalty, converged = fit_detector(features[train], labels[train], persons, readout=readout, seed=seed)
        seen = windows[test].astype(np.float64)
        probability = model.predict_proba(seen.reshape(-1, seen.shape[-1]))[:, 1].reshape(seen.shape[:2])
        return is_positive(probability, weights), {"penalty": penalty, "converged": converged}

    return predict


def fit_detector(
    features: npt.NDArray[np.floating], labels: Mask, persons: npt.NDArray[np.str_], *, readout: str, seed: int
) -> tuple[Pipeline, float, bool]:
    """Return a logistic regression on the features of patches, its penalty and whether it converged.

    Parameters
    ----------
    features : (M, F) array
    labels : (M,) bool array
        Which patches are diseased; both kinds must occur.
    persons : (M,) array
        Whose they are.
    readout, seed
        As for `linear_detector`.
    """
    inputs, truth = features.astype(np.float64), labels.astype(np.float64)
    penalty = choose_penalty(DISEASED, inputs, truth, seed, persons) if readout == "penalised" else 0.0
    model, converged = fit_readout(DISEASED, penalty, inputs, truth)
    return model, penalty, converged


def evaluate_patches(
    task: str, variant: str, patches: BoxPatches, labels: Mask, predict: Predict, **settings: Any
) -> dict[str, Any]:
    """Predict the patches of each fold by a detector of the others, and judge the predictions.

    Parameters
    ----------
    task, variant : str
        Of `tasks.OTHER_TASKS`; they name the metrics.
    patches : BoxPatches
        Those of one detector (`BoxPatches.detection`).
    labels : (M,) bool array
        Which are diseased.
    predict : callable
        Trains a detector and uses it, for a fold without patches too: its subjects may be masked. Where the patches to
        learn from are all of one kind it is not asked: that kind is what is predicted.
    **settings
        ``run, readout, seed, fold_count`` of the result.

    Returns
    -------
    dict
        JSON-able, with the keys of `probes.evaluate_task`; `ids` are the subjects of the patches. In a fold without
        healthy patches no call is wrong and precision is 1, in one without boxes all are wrong and it is 0, whatever
        the detector: there precision and F1 are None, as recall is without boxes.
    """
    metrics = OTHER_TASKS[task].metrics
    reason = _unusable(patches, labels)
    folds = range(0 if reason else settings["fold_count"])
    results = [_evaluate_fold(metrics, patches, labels, predict, fold) for fold in folds]
    kinds = {"boxes": labels, "healthy patches": ~labels}
    counts = " and ".join(f"{m.sum()} {name} of {len(set(patches.persons[m]))}" for name, m in kinds.items())
    return {
        "task": task,
        "variant": variant,
        **settings,
        "n": len(patches),
        "reason": reason,
        "notes": [
            f"{task}: {counts} subjects.",
            *(f"Left out: {reason}." for reason in patches.left_out),
            *_one_kind_notes(task, results),
        ],
        "folds": results,
        "summary": {metric: _summary(metric, results) for metric in metrics},
    }


def _evaluate_fold(
    metrics: tuple[str, ...], patches: BoxPatches, labels: Mask, predict: Predict, fold: int
) -> dict[str, Any]:
    test = patches.folds == fold
    kinds = np.unique(labels[~test])
    if len(kinds) < 2:
        prediction, more = np.repeat(kinds[:1], test.sum()), {"penalty": None, "converged": True}
    else:
        prediction, more = predict(~test, test, fold)
    truth, prediction = labels[test].astype(int), prediction.astype(int)
    told = [metric for metric in metrics if len(set(truth)) > (metric in _TAKES_BOTH)]
    judged = {metric: METRICS[metric](truth, prediction) if metric in told else None for metric in metrics}
    logger.info("fold %d: %s", fold, judged)
    return {
        "fold": fold,
        "n_train": int((~test).sum()),
        "n_test": int(test.sum()),
        "ids": patches.participants[test].tolist(),
        "truth": truth.tolist(),
        "prediction": prediction.tolist(),
        "metrics": judged,
        **more,
    }


def _one_kind_notes(task: str, results: list[dict[str, Any]]) -> Iterator[str]:
    left_out = [metric for metric in OTHER_TASKS[task].metrics if metric in _TAKES_BOTH]
    for kind, name in ((1, HEALTHY), (0, "annotated")):
        folds = ", ".join(str(result["fold"]) for result in results if set(result["truth"]) == {kind})
        if folds and left_out:
            yield f"{task}: no {name} patch in fold {folds}, hence no {' and '.join(left_out)} there."


def _unusable(patches: BoxPatches, labels: Mask) -> str | None:
    if not labels.any():
        return "no annotated box"
    if labels.all():
        return f"no {HEALTHY} subject: none with GOLD 0, CLE 0 and paraseptal 0"
    if len(np.unique(patches.folds)) < 2:
        return "all patches are in one fold"
    return None


def _summary(metric: str, results: list[dict[str, Any]]) -> dict[str, float | None]:
    mean, sd = mean_and_sd([result["metrics"][metric] for result in results])
    return {"mean": mean, "sd": sd}
