"""What a table shows of a cohort whose folds are too small for a mean and a standard deviation over them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from drasclr_core.bootstrap import LEVEL, RESAMPLES, with_interval
from drasclr_core.pooled import Predictions
from drasclr_core.tasks import TASKS

SMALL_FOLD = 30
"""Fewer people with the label than this in a fold, on average, make it small: its R² may be anything."""

Evaluation = Mapping[str, Any]


def people_of(evaluation: Evaluation) -> int:
    """Return how many people the scans of an evaluation are of; n where they are not counted."""
    persons = {person for fold in evaluation["folds"] for person in fold.get("persons", [])}
    return len(persons) or evaluation["n"]


def folds_are_small(evaluations: Sequence[Evaluation]) -> bool:
    """Return whether a table of these shows pooled figures.

    It does where all are of subjects' labels, and those of any label are fewer than `SMALL_FOLD` people a fold. Boxes
    and survival keep what they have: folds of patches, and a bootstrap's standard error.
    """
    are_labels = all(evaluation["task"] in TASKS for evaluation in evaluations)
    return are_labels and any(_is_small(evaluation) for evaluation in evaluations if not evaluation["reason"])


def pooled_figures(metric: str, evaluations: Sequence[Evaluation], scale: float) -> dict[str, float | None]:
    """Return a metric of all out-of-fold predictions at once, the mean over a run's trainings.

    Parameters
    ----------
    metric : str
        Of `drasclr_core.tasks.Task.metrics`.
    evaluations : sequence of mappings
        As of `drasclr_core.probes.evaluate_task`, of one label and run, one of each training.
    scale : float
        What the figures are multiplied by.

    Returns
    -------
    dict
        ``pooled, low, high``: the estimate and its interval over people, the same resamples for every training;
        ``training_sd``, the sample standard deviation of the trainings' estimates. None where it is undefined.
    """
    if not evaluations:
        return dict.fromkeys(("pooled", "low", "high", "training_sd"))
    judged = []
    for evaluation in evaluations:
        predictions = Predictions.of(evaluation)
        judged.append(scale * predictions.judge(metric, predictions.draw_persons(evaluation["seed"])))
    mean = np.mean(judged, axis=0)
    found = with_interval(float(mean[0]), mean[1:])
    estimates = [float(values[0]) for values in judged]
    has_spread = len(estimates) > 1 and found["estimate"] is not None
    spread = float(np.std(estimates, ddof=1)) if has_spread else None
    return {"pooled": found["estimate"], "low": found["low"], "high": found["high"], "training_sd": spread}


def pooled_note(evaluations: Sequence[Evaluation], folds: int) -> str:
    """Return the footnote that says what stands in place of mean and standard deviation, and why."""
    fewest = min(people_of(evaluation) for evaluation in evaluations if not evaluation["reason"])
    return (
        f"Pooled out of fold: every figure judges the predictions of all {folds} folds by subject at once, for folds "
        f"of fewer than {SMALL_FOLD} people (here {fewest} in all with the rarest label) carry no mean and s.d. In "
        f"brackets its {LEVEL:.0%} interval: percentiles of {RESAMPLES} bootstrap resamples of people, no model fitted "
        "again"
    )


def _is_small(evaluation: Evaluation) -> bool:
    return people_of(evaluation) < SMALL_FOLD * evaluation["fold_count"]
