"""Linear readouts of frozen features, cross-validated by person, the same for every method."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from drasclr_core.base.errors import DamagedError, InputError
from drasclr_core.base.files import RECORD, read_json, undamaged
from drasclr_core.base.version import __version__
from drasclr_core.cohort.persons import person_indices, person_notes, table_persons
from drasclr_core.config.tasks import TASKS, Task
from drasclr_core.evaluate.metrics import METRICS, mean_and_sd
from drasclr_core.evaluate.readout import MAX_ITERATIONS, choose_penalty, fit_readout
from drasclr_core.train.collapse import embedding_warnings

logger = logging.getLogger(__name__)

Readout = Literal["plain", "penalised"]

ALL_FOLDS = -1  # the features table's `fold` where one embedding serves every fold


def task_labels(name: str, participants: pd.DataFrame) -> pd.Series:
    """Return the labels of a task, of the participants who have one.

    Parameters
    ----------
    name : str
        One of `TASKS`.
    participants : DataFrame
        The validated participants table.

    Returns
    -------
    Series
        Float64, participant id -> label (a natural logarithm, or a class), sorted by id. Missing cells and values that
        are no class of this task (GOLD's -1, PRISm) are absent; without the column, everybody is.

    Raises
    ------
    InputError
        If the task is unknown, or a value is none that the task knows.
    """
    task = _task(name)
    if task.column not in participants:
        return pd.Series(dtype=np.float64)
    values = pd.Series(
        pd.to_numeric(participants[task.column]).to_numpy(dtype=np.float64, na_value=np.nan),
        index=participants["participant_id"].to_numpy(),
    )
    values = values[values.notna() & ~values.isin(task.left_out)].sort_index()
    if task.transform == "natural_log":
        _refuse(values[values <= 0], task, "above 0")
        return pd.Series(np.log(values), index=values.index)
    if task.transform == "at_least_one":
        _refuse(values[values < 0], task, "0 or more")
        return (values >= 1).astype(np.float64)
    if task.classes:
        _refuse(values[~values.isin(task.classes)], task, f"one of {', '.join(map(str, task.classes))}")
    return values


def evaluate_task(
    name: str,
    participants: pd.DataFrame,
    features: pd.DataFrame,
    folds: Mapping[str, int],
    *,
    run: str,
    readout: Readout,
    seed: int,
) -> dict[str, Any]:
    """Predict one label from frozen features, each fold from the others, and judge the predictions.

    Features are standardised by the training folds alone. `plain` fits least squares (of least norm where features
    outnumber subjects) or multinomial logistic regression without penalty, as the paper does. `penalised` adds an L2
    penalty: of `drasclr_core.evaluate.readout.PENALTIES` the one with the least squared error or log loss in an inner
    cross-validation by person within the training folds. Classes absent from the training folds are never predicted.

    Parameters
    ----------
    name : str
        One of `TASKS`.
    participants : DataFrame
        The validated participants table; who lacks the label is left out of this task only.
    features : DataFrame
        participant_id, fold, and one column per feature. `fold` is -1 where one embedding serves all folds; else block
        k holds the features of all subjects from a method fitted without fold k.
    folds : mapping
        Participant id -> fold, from `assign_folds`.
    run : str
        Named in the result.
    readout : {"plain", "penalised"}
        As above.
    seed : int
        Of the inner folds.

    Returns
    -------
    dict
        JSON-able: ``task, run, variant`` (None), ``readout, seed, fold_count, n`` (scans with features and label),
        ``n_unlabelled, reason`` (None, or why nothing could be evaluated), ``notes`` (whether they are of fewer
        persons), ``folds`` (each with ``fold, n_train, n_test, ids, persons`` (whose they are, counted from 0),
        ``truth, prediction, metrics, penalty, converged``), ``summary`` (metric -> mean and sample standard deviation,
        n - 1, over the folds where it is defined), and ``pooled`` (metric over all out-of-fold predictions).

    Raises
    ------
    InputError
        If the task, the readout, a label or the features cannot be used.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 3.2 (Table 2).
    """
    task = _task(name)
    if readout not in ("plain", "penalised"):
        raise InputError(f"evaluation.readout is '{readout}', but must be plain or penalised.")
    check_features(features, folds)
    labels = task_labels(name, participants)
    embedded = features["participant_id"].unique()
    labels = labels[labels.index.isin(embedded)]
    person_of = table_persons(participants)
    persons = person_indices([person_of[name] for name in labels.index])
    reason = _unusable(task, labels, participants, folds)
    results = (
        []
        if reason
        else [
            _evaluate_fold(task, labels, persons, features_of_fold(features, fold), folds, fold, readout, seed)
            for fold in sorted(set(folds.values()))
        ]
    )
    return {
        "task": name,
        "run": run,
        "variant": None,
        "readout": readout,
        "seed": seed,
        "fold_count": len(set(folds.values())),
        "n": len(labels),
        "n_unlabelled": len(embedded) - len(labels),
        "reason": reason,
        "notes": person_notes(name, persons),
        "folds": results,
        "summary": {metric: _summary(metric, results) for metric in task.metrics},
        "pooled": _judge(task, _gather(results, "truth"), _gather(results, "prediction")),
    }


def _evaluate_fold(
    task: Task,
    labels: pd.Series,
    persons: npt.NDArray[np.int64],
    block: pd.DataFrame,
    folds: Mapping[str, int],
    fold: int,
    readout: Readout,
    seed: int,
) -> dict[str, Any]:
    inputs = block.loc[labels.index].to_numpy(dtype=np.float64)
    truth = labels.to_numpy()
    held_out = np.array([folds[participant] == fold for participant in labels.index])
    training = inputs[~held_out], truth[~held_out]
    penalty = choose_penalty(task, *training, seed, persons[~held_out]) if readout == "penalised" else 0.0
    model, converged = fit_readout(task, penalty, *training)
    if not converged:
        logger.warning("%s, fold %d: no convergence in %d iterations", task.column, fold, MAX_ITERATIONS)
    prediction = model.predict(inputs[held_out]) if held_out.any() else np.empty(0)
    return {
        "fold": fold,
        "n_train": int((~held_out).sum()),
        "n_test": int(held_out.sum()),
        "ids": labels.index[held_out].tolist(),
        "persons": persons[held_out].tolist(),
        "truth": _plain_numbers(task, truth[held_out]),
        "prediction": _plain_numbers(task, prediction),
        "metrics": _judge(task, truth[held_out], prediction),
        "penalty": penalty,
        "converged": converged,
    }


def read_features(folder: str | Path) -> pd.DataFrame:
    """Return the features of a run's subjects, as of ``features.parquet``.

    Raises
    ------
    DamagedError
        If the file is not what was written.
    """
    path = Path(folder) / "features.parquet"
    try:
        return pd.read_parquet(undamaged(path))
    except (OSError, ValueError) as error:
        if isinstance(error, (FileNotFoundError, DamagedError)):
            raise
        raise DamagedError(path, "no Parquet file") from error


def provenance_of(features: str | Path) -> dict[str, Any]:
    """Return what an evaluation says of the features folder that it read: ``warnings``, ``features``, ``drasclr``."""
    record = read_json(Path(features) / RECORD)
    return {"warnings": embedding_warnings(record), "features": record, "drasclr": __version__}


def check_features(features: pd.DataFrame, folds: Mapping[str, int], fewest: int = 1) -> None:
    """Check a table of features that `evaluate_task` describes.

    Parameters
    ----------
    features : DataFrame
        participant_id, fold, and one column per feature.
    folds : mapping
        Participant id -> fold.
    fewest : int
        Columns that it must have at least.

    Raises
    ------
    InputError
        If it is empty, not finite, or does not hold the same subjects once per block, each with a fold.
    """
    values = features.drop(columns=["participant_id", "fold"])
    if values.shape[1] < fewest or len(values) == 0:
        raise InputError("The features table is empty: embed the cohort again.")
    finite = np.isfinite(values.to_numpy(dtype=np.float64)).all(axis=1)
    if not finite.all():
        raise InputError(f"Features are not finite: {_some(features.loc[~finite, 'participant_id'])}.")
    twice = features.duplicated(["participant_id", "fold"])
    if twice.any():
        raise InputError(f"Features stand twice: {_some(features.loc[twice, 'participant_id'])}.")
    unknown = ~features["participant_id"].isin(list(folds))
    if unknown.any():
        raise InputError(f"No fold is assigned to {_some(features.loc[unknown, 'participant_id'])}.")
    blocks, needed = set(features["fold"]), set(folds.values())
    if blocks not in ({ALL_FOLDS}, needed):
        raise InputError(f"The features are of folds {sorted(blocks)}, but must be of [-1] or of {sorted(needed)}.")
    if len({frozenset(ids) for _, ids in features.groupby("fold")["participant_id"]}) > 1:
        raise InputError("The features of some fold lack subjects that other folds have: embed the cohort again.")


def features_of_fold(features: pd.DataFrame, fold: int) -> pd.DataFrame:
    """Return the features to use when `fold` is held out, indexed by participant id."""
    used = fold if (features["fold"] == fold).any() else ALL_FOLDS
    return features[features["fold"] == used].set_index("participant_id").drop(columns="fold")


def _unusable(task: Task, labels: pd.Series, participants: pd.DataFrame, folds: Mapping[str, int]) -> str | None:
    if task.column not in participants:
        return f"the participants table has no column {task.column}"
    if len({folds[participant] for participant in labels.index}) < 2:
        return f"{len(labels)} subjects with {task.column}, too few for two folds"
    return None


def _judge(task: Task, truth: npt.ArrayLike, prediction: npt.ArrayLike) -> dict[str, float | None]:
    empty = np.size(truth) == 0
    return {metric: None if empty else METRICS[metric](truth, prediction) for metric in task.metrics}


def _summary(metric: str, results: list[dict[str, Any]]) -> dict[str, float | None]:
    mean, sd = mean_and_sd([result["metrics"][metric] for result in results])
    return {"mean": mean, "sd": sd}


def _gather(results: list[dict[str, Any]], key: str) -> list[float]:
    return [value for result in results for value in result[key]]


def _plain_numbers(task: Task, values: npt.NDArray) -> list[Any]:
    return (values.astype(int) if task.classes else values).tolist()


def _task(name: str) -> Task:
    if name not in TASKS:
        raise InputError(f"'{name}' is no task; the tasks are {', '.join(TASKS)}.")
    return TASKS[name]


def _refuse(wrong: pd.Series, task: Task, allowed: str) -> None:
    if len(wrong):
        cells = ", ".join(f"{participant} has {value:g}" for participant, value in wrong.head(5).items())
        raise InputError(f"participants.{task.column} must be {allowed}: {cells}; {len(wrong)} in all.")


def _some(ids: pd.Series) -> str:
    names = list(dict.fromkeys(ids))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
