"""Two runs compared on the label of a task: pooled out-of-fold, paired, with a bootstrap of persons."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from drasclr_core.base.errors import InputError
from drasclr_core.evaluate.bootstrap import with_interval
from drasclr_core.evaluate.pooled import Predictions


def compare_task(evaluation: Mapping[str, Any], reference: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Compare the out-of-fold predictions of two runs for the same label.

    Parameters
    ----------
    evaluation, reference : mappings
        As `drasclr_core.evaluate.probes.evaluate_task` returns them, of the same task, subjects and folds.
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
    ours, theirs = Predictions.of(evaluation), Predictions.of(reference)
    alike = ours.ids == theirs.ids and np.array_equal(ours.truth, theirs.truth)
    if evaluation["task"] != reference["task"] or not alike:
        raise InputError(
            f"{evaluation['run']} / {evaluation['task']} and {reference['run']} / {reference['task']} were not "
            "evaluated on the same subjects: evaluate both again."
        )
    draws = ours.draw_persons(seed)
    metrics = {}
    for metric in evaluation["summary"]:
        values, others = (predictions.judge(metric, draws) for predictions in (ours, theirs))
        rows = {"run": values, "reference": others, "difference": values - others}
        metrics[metric] = {name: with_interval(float(row[0]), row[1:]) for name, row in rows.items()}
    return {"task": evaluation["task"], "n": len(ours.ids), "metrics": metrics}
