"""Two runs compared on the label of a task: pooled out-of-fold, paired, with a bootstrap of persons."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from drasclr_core.bootstrap import RESAMPLES, SubjectSums, draw_subjects, pooled_r2, sum_by_subject, with_interval
from drasclr_core.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def compare_task(evaluation: Mapping[str, Any], reference: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Compare the out-of-fold predictions of two runs for the same label.

    Parameters
    ----------
    evaluation, reference : mappings
        As `drasclr_core.probes.evaluate_task` returns them, of the same task, subjects and folds.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        JSON-able: ``task, n`` and ``metrics``: metric -> ``run``, ``reference`` and ``difference`` (run minus
        reference; higher is better for every metric), each with ``estimate, low, high`` (None where undefined). The
        same resamples of persons serve both runs.

    Raises
    ------
    InputError
        If the two were not evaluated on the same subjects.
    """
    ids, persons, truth, ours = _pooled(evaluation)
    other_ids, _, other_truth, theirs = _pooled(reference)
    if evaluation["task"] != reference["task"] or ids != other_ids or not np.array_equal(truth, other_truth):
        raise InputError(
            f"{evaluation['run']} / {evaluation['task']} and {reference['run']} / {reference['task']} were not "
            "evaluated on the same subjects: evaluate both again."
        )
    count = int(persons.max(initial=-1)) + 1
    draws = np.ones((1, count), np.int64)  # the sample itself, then its resamples
    if count:
        draws = np.vstack([draws, draw_subjects(count, RESAMPLES, seed)])
    metrics = {}
    for metric in evaluation["summary"]:
        values, others = (_measure(metric, truth, prediction, persons, draws) for prediction in (ours, theirs))
        rows = {"run": values, "reference": others, "difference": values - others}
        metrics[metric] = {name: with_interval(float(row[0]), row[1:]) for name, row in rows.items()}
    return {"task": evaluation["task"], "n": len(ids), "metrics": metrics}


def _pooled(evaluation: Mapping[str, Any]) -> tuple[list[str], Ints, Floats, Floats]:
    """Return ids, persons, truth and prediction of all folds, sorted by id."""
    folds = evaluation["folds"]
    ids = [id_ for fold in folds for id_ in fold["ids"]]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    truth, prediction = (
        np.array([value for fold in folds for value in fold[name]], np.float64)[order]
        for name in ("truth", "prediction")
    )
    persons = np.array([person for fold in folds for person in fold["persons"]], np.int64)[order]
    return [ids[place] for place in order], persons, truth, prediction


def _measure(metric: str, truth: Floats, prediction: Floats, persons: Ints, draws: Ints) -> Floats:
    """Return a metric over each row of draws of the persons, (R,)."""
    if not len(truth):
        return np.full(len(draws), np.nan)
    sums = SubjectSums.of(truth, persons, draws.shape[1])
    if metric == "r2":
        return pooled_r2(sum_by_subject((truth - prediction) ** 2, persons, draws.shape[1]), sums, draws)
    within = {"accuracy": 0, "within_one": 1}[metric]
    right = (np.abs(truth - prediction) <= within).astype(np.float64)
    right = sum_by_subject(right, persons, draws.shape[1])
    return draws @ right / (draws @ sums.count)
