"""Survival (Table 3): a Cox model of features, clinical columns and confounders, judged by concordance out of fold."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.persons import person_indices, person_notes, table_persons
from drasclr_core.config.tasks import COLUMN_SETS, OTHER_TASKS
from drasclr_core.evaluate.bootstrap import RESAMPLES, draw_subjects
from drasclr_core.evaluate.concordance import Outcome, concordance, uno_weights
from drasclr_core.evaluate.metrics import mean_and_sd
from drasclr_core.evaluate.probes import check_features, features_of_fold
from drasclr_core.evaluate.survival_design import CONFOUNDERS, Sample
from drasclr_core.evaluate.survival_groups import calibration, risk_groups
from drasclr_core.evaluate.survival_model import fit_cox

logger = logging.getLogger(__name__)

TASK = "survival"
READOUT = "Cox model, ridge penalty chosen inside the training folds"
PERCENTILES = (25, 50, 75)
METRICS = OTHER_TASKS[TASK].metrics
MIN_TRAINING_DEATHS = 3

_OUTCOME = ("died", "followup_days")
_HORIZON_NAMES = tuple(f"p{percentile}" for percentile in PERCENTILES)
_MIDDLE = PERCENTILES.index(50)


def evaluate_survival(
    variant: str,
    participants: pd.DataFrame,
    features: pd.DataFrame,
    folds: Mapping[str, int],
    *,
    run: str,
    seed: int,
) -> dict[str, Any]:
    """Predict each fold's risk of death by a Cox model of the other folds, and judge it.

    The horizons are the percentiles `PERCENTILES` of the follow-up of all censored participants, so the same for every
    run and variant. Subjects who lack a column of the model are left out; a column that the whole table lacks is in no
    model. Both are said in `notes`.

    Parameters
    ----------
    variant : str
        One of `COLUMN_SETS`: the columns that join the features and the confounders.
    participants : DataFrame
        The validated participants table.
    features : DataFrame
        participant_id, fold, and a column per feature, as for `probes.evaluate_task`; there may be no feature.
    folds : mapping
        Participant id -> fold, from `assign_folds`.
    run : str
        Named in the result.
    seed : int
        Of the inner folds and of the bootstrap.

    Returns
    -------
    dict
        JSON-able: ``task, variant, run, readout, seed, fold_count, n`` (scans in the model), ``deaths``,
        ``n_left_out`` (embedded, but without outcome or a column), ``reason`` (None, or why there is nothing),
        ``notes``, ``horizons_days`` (p25, p50, p75), ``folds`` (each with ``fold, n_train, n_test, deaths_train,
        deaths_test, ids, died, followup_days, risk`` (log hazard; higher is worse), ``survival`` (predicted, at the
        50th percentile), ``metrics, penalty, confounder_penalty, converged``), ``summary`` (metric -> mean over the
        folds where it is defined, and as sd the bootstrap standard error of that mean), ``pooled`` (metric over all
        out-of-fold risks), ``risk_groups`` and ``calibration`` (None without folds; see `survival_groups`).

    Raises
    ------
    InputError
        If the variant is unknown or the features cannot be used.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.2.2 (Table 3).
    """
    if variant not in COLUMN_SETS:
        raise InputError(f"'{variant}' is no variant of {TASK}; they are {', '.join(COLUMN_SETS)}.")
    check_features(features, folds, fewest=0)
    table = participants.set_index("participant_id").sort_index()
    wanted = [*CONFOUNDERS, *COLUMN_SETS[variant]]
    present = [column for column in wanted if _has(table, column)]
    embedded = table.loc[table.index.isin(features["participant_id"])]
    usable = embedded.reindex(columns=[*_OUTCOME, *present]).dropna()
    horizons = _horizons(table)
    reason = _unusable(table, variant, present, usable, folds)
    person_of = table_persons(participants)
    persons = person_indices([person_of[name] for name in usable.index])
    data = usable, present, persons, features, folds
    results, resampled = ([], []) if reason else _evaluate_folds(*data, horizons, seed)
    return {
        "task": TASK,
        "variant": variant,
        "run": run,
        "readout": READOUT,
        "seed": seed,
        "fold_count": len(set(folds.values())),
        "n": len(usable),
        "n_left_out": len(embedded) - len(usable),
        "deaths": int(usable["died"].sum()),
        "reason": reason,
        "notes": []
        if reason
        else [
            *_notes(variant, present, embedded, table, horizons, results),
            *person_notes(f"{TASK}, {variant}", persons),
        ],
        "horizons_days": dict(zip(_HORIZON_NAMES, horizons, strict=True)),
        "folds": results,
        "summary": _summary(results, resampled),
        **_pooled(results, horizons),
    }


def _evaluate_folds(
    usable: pd.DataFrame,
    present: list[str],
    persons: npt.NDArray[np.int64],
    features: pd.DataFrame,
    folds: Mapping[str, int],
    horizons: Sequence[float],
    seed: int,
) -> tuple[list[dict[str, Any]], list[npt.NDArray]]:
    """Return each fold's result and its resampled metrics, (RESAMPLES, M)."""
    fold_of = np.array([folds[participant] for participant in usable.index])
    outcome = _outcome(usable)
    results, resampled = [], []
    for fold in sorted(set(folds.values())):
        values = features_of_fold(features, fold).loc[usable.index].to_numpy(dtype=np.float64)
        sample = Sample(usable[present], values, outcome, persons)
        test, training = sample.of(fold_of == fold), sample.of(fold_of != fold)
        model = fit_cox(training, seed)
        risk = model.risk(test)
        logger.info("fold %d: %d deaths to learn from, %s", fold, training.outcome.died.sum(), model.penalties)
        if len(test):
            people, person = np.unique(test.persons, return_inverse=True)
            draws = draw_subjects(len(people), RESAMPLES, [seed, fold])[:, person]
            resampled.append(_judge(risk, test.outcome, training.outcome, horizons, draws))
        else:
            resampled.append(np.full((RESAMPLES, len(METRICS)), np.nan))
        results.append(
            {
                "fold": fold,
                "n_train": len(training),
                "n_test": len(test),
                "deaths_train": int(training.outcome.died.sum()),
                "deaths_test": int(test.outcome.died.sum()),
                "ids": test.covariates.index.tolist(),
                "died": test.outcome.died.astype(int).tolist(),
                "followup_days": test.outcome.time_days.tolist(),
                "risk": risk.tolist(),
                "survival": model.survival(risk, horizons[_MIDDLE]).tolist(),
                "metrics": _by_metric(_judge(risk, test.outcome, training.outcome, horizons)[0]),
                "penalty": model.penalties.others,
                "confounder_penalty": model.penalties.confounders,
                "converged": model.converged,
            }
        )
    return results, resampled


def _judge(
    risk: npt.NDArray[np.float64],
    outcome: Outcome,
    training: Outcome,
    horizons: Sequence[float],
    draws: npt.NDArray | None = None,
) -> npt.NDArray[np.float64]:
    """Return the concordances in the order of `METRICS`, a row per resample."""
    uno = concordance(risk, outcome, horizons, uno_weights(outcome.time_days, training), draws)
    return np.hstack([uno, concordance(risk, outcome, horizons, draws=draws)])


def _summary(results: list[dict[str, Any]], resampled: list[npt.NDArray]) -> dict[str, dict[str, float | None]]:
    """Return the mean over the folds, and how the mean varies where each fold's persons are drawn anew."""
    means = {metric: mean_and_sd([result["metrics"][metric] for result in results])[0] for metric in METRICS}
    errors = _by_metric(_spread(np.stack(resampled))) if resampled else dict.fromkeys(METRICS)
    return {metric: {"mean": means[metric], "sd": errors[metric]} for metric in METRICS}


def _spread(resampled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the standard deviation over resamples of the mean over folds, of (folds, R, M) values with NaN."""
    defined = np.isfinite(resampled)
    count = defined.sum(axis=0)
    mean = np.where(defined, resampled, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.array(
        [
            np.std(column[some], ddof=1) if some.sum() > 1 else np.nan
            for column, some in zip(mean.T, count.T > 0, strict=True)
        ]
    )


def _pooled(results: list[dict[str, Any]], horizons: Sequence[float]) -> dict[str, Any]:
    """Return what is found of all out-of-fold risks together."""
    if not results:
        return {"pooled": dict.fromkeys(METRICS), "risk_groups": None, "calibration": None}
    died, days, risk, survival = (
        np.concatenate([result[key] for result in results]) for key in ("died", "followup_days", "risk", "survival")
    )
    outcome = Outcome(days, died.astype(bool))
    return {
        "pooled": _by_metric(_judge(risk, outcome, outcome, horizons)[0]),
        "risk_groups": risk_groups(risk, outcome),
        "calibration": {"horizon_days": horizons[_MIDDLE], "groups": calibration(survival, outcome, horizons[_MIDDLE])},
    }


def _by_metric(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {metric: float(value) if np.isfinite(value) else None for metric, value in zip(METRICS, values, strict=True)}


def _has(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _outcome(table: pd.DataFrame) -> Outcome:
    return Outcome(table["followup_days"].to_numpy(np.float64), table["died"].to_numpy(np.float64) == 1)


def _horizons(table: pd.DataFrame) -> list[Any]:
    if not all(_has(table, column) for column in _OUTCOME):
        return [None] * len(PERCENTILES)
    followup = table.loc[table["died"] == 0, "followup_days"].dropna()
    return np.percentile(followup, PERCENTILES).tolist() if len(followup) else [None] * len(PERCENTILES)


def _unusable(
    table: pd.DataFrame, variant: str, present: list[str], usable: pd.DataFrame, folds: Mapping[str, int]
) -> str | None:
    absent = [column for column in _OUTCOME if not _has(table, column)]
    if absent:
        return f"the participants table has no column {' and '.join(absent)}"
    for columns in COLUMN_SETS.values():
        if columns and set(columns) <= set(COLUMN_SETS[variant]) and not set(columns) & set(present):
            return f"{variant}: the participants table has no {' or '.join(columns)}"
    if not (table["died"] == 0).any():
        return "no participant is censored, so the percentiles of censoring time are undefined"
    fold_of = usable.index.map(folds)
    fewest = min(int(usable.loc[fold_of != fold, "died"].sum()) for fold in set(folds.values()))
    if fewest < MIN_TRAINING_DEATHS:
        return (
            f"{int(usable['died'].sum())} of {len(usable)} subjects died, so that some fold has {fewest} deaths to "
            f"learn from; a Cox model needs {MIN_TRAINING_DEATHS}"
        )
    return None


def _notes(
    variant: str,
    present: list[str],
    embedded: pd.DataFrame,
    table: pd.DataFrame,
    horizons: Sequence[float],
    results: list[dict[str, Any]],
) -> list[str]:
    days = ", ".join(f"{day:.0f}" for day in horizons)
    notes = [
        f"Concordance is truncated at the 25th, 50th and 75th percentile of the follow-up of the "
        f"{int((table['died'] == 0).sum())} censored participants: {days} days.",
        "Uno's concordance has inverse censoring weights from the training folds; Harrell's has none. 0.5 is chance. "
        "The paper names no estimator: its values stand beside Uno's.",
        f"The bootstrap draws the subjects of each fold anew ({RESAMPLES} times) and fits no model again.",
    ]
    for columns, models in ((CONFOUNDERS, "in no model"), (COLUMN_SETS[variant], f"not in the model of {variant}")):
        absent = [column for column in columns if column not in present]
        if absent:
            notes.append(f"Not in the participants table, so {models}: {', '.join(absent)}.")
    missing = {column: int(embedded[column].isna().sum()) for column in [*_OUTCOME, *present]}
    if any(missing.values()):
        counts = ", ".join(f"{column} {count}" for column, count in missing.items() if count)
        notes.append(f"Left out of the variant {variant} for want of a value: {counts}.")
    by_folds: dict[str, list[str]] = {}
    for metric in METRICS:
        undefined = ", ".join(str(result["fold"]) for result in results if result["metrics"][metric] is None)
        by_folds.setdefault(undefined, []).append(metric)
    notes += [
        f"{variant}: no death comparable within the training folds' follow-up, hence no {', '.join(metrics)}, in fold "
        f"{undefined}."
        for undefined, metrics in by_folds.items()
        if undefined
    ]
    return notes
