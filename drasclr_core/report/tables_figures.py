"""The figures in the cells of a table: over the folds or, where these are too small for that, pooled over them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from drasclr_core.config.tasks import TASKS
from drasclr_core.evaluate.bootstrap import LEVEL, RESAMPLES, with_interval
from drasclr_core.evaluate.pooled import FEW_PEOPLE, Predictions

SMALL_FOLD = 30
"""Fewer people with the label than this in a fold, on average, make it small: its R² may be anything."""

MARK = "†"

Evaluation = Mapping[str, Any]


def people_of(evaluation: Evaluation) -> int:
    """Return how many people the scans of an evaluation are of; n where they are not counted."""
    persons = {person for fold in evaluation["folds"] for person in fold.get("persons", [])}
    return len(persons) or evaluation["n"]


def judged_people(evaluation: Evaluation) -> int:
    """Return of how many people the figures of an evaluation are, where its n counts patches too."""
    ids = {name for fold in evaluation["folds"] for name in fold.get("ids", [])}
    return min(len(ids) or evaluation["n"], people_of(evaluation))


def few_people_note() -> str:
    """Return the footnote that says what the mark means."""
    return f"{MARK} of fewer than {FEW_PEOPLE} people: an example rather than a result."


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
        Of `drasclr_core.config.tasks.Task.metrics`.
    evaluations : sequence of mappings
        As of `drasclr_core.evaluate.probes.evaluate_task`, of one label and run, one of each training.
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


def fold_figures(metric: str, evaluations: Sequence[Evaluation], scale: float) -> dict[str, float | None]:
    """Return ``mean, sd`` over the folds, both the mean over a run's trainings, and ``training_sd``, of their means.

    Takes what `pooled_figures` takes.
    """
    summaries = [evaluation["summary"][metric] for evaluation in evaluations]
    means, sds = ([_times(summary[key], scale) for summary in summaries] for key in ("mean", "sd"))
    return {
        "mean": over_trainings(statistics.fmean, means),
        "sd": over_trainings(statistics.fmean, sds),
        "training_sd": over_trainings(statistics.stdev, means, fewest=2),
    }


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


def table_value(row: Mapping[str, Any], name: str, decimals: int) -> str:
    """Return ours in a column: mean and deviation over the folds, or the pooled figure with its interval.

    It is marked where it is of fewer than `FEW_PEOPLE` people.
    """
    mark = f" {MARK}" if (row[f"{name}_people"] or 0) < FEW_PEOPLE else ""
    if f"{name}_mean" in row:
        value = value_text(row[f"{name}_mean"], row[f"{name}_sd"], decimals)
        return value if value == "–" else value + mark
    figures = [row[f"{name}_{figure}"] for figure in ("pooled", "low", "high")]
    if figures[0] is None:
        return "–"
    return "{} [{}, {}]".format(*(f"{figure:z.{decimals}f}" for figure in figures)) + mark


def value_text(value: float | None, sd: float | None, decimals: int) -> str:
    """Return a value with its standard deviation, if there is one."""
    if value is None:
        return "–"
    return f"{value:z.{decimals}f}" + ("" if sd is None else f" ± {sd:.{decimals}f}")


def over_trainings(
    statistic: Callable[[list[float]], float], values: Sequence[float | None], fewest: int = 1
) -> float | None:
    """Return a statistic of the values; None where there are too few, or one of them is None."""
    defined = [value for value in values if value is not None]
    return statistic(defined) if len(defined) == len(values) >= fewest else None


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale
