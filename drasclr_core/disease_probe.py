"""A linear probe of a patch's true disease fraction from its feature, and runs compared by it.

The probe has one intercept per landmark: features and fractions are centred by their landmark's means over the training
subjects, and one linear map, shared by all landmarks, reads the rest. Where in the lung a patch lies predicts part of
its disease by itself, and an encoder that is told the location could hand it through; with the intercept every run is
given the location, and none gains by encoding it. What the location alone explains is reported beside the runs.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drasclr_core.bootstrap import (
    LEVEL,
    RESAMPLES,
    SubjectSums,
    draw_subjects,
    pooled_r2,
    sum_by_subject,
    with_interval,
)
from drasclr_core.disease import MIN_LUNG_FRACTION, TARGETS, PatchDisease
from drasclr_core.errors import InputError
from drasclr_core.probes import Readout
from drasclr_core.readout import choose_penalty, fit_readout
from drasclr_core.tasks import Task

logger = logging.getLogger(__name__)

_FRACTION = Task("disease fraction", "regression", ("r2",))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LandmarkFeatures:
    """A run's features, (N, L, D) float32, of the participants named, in that order."""

    participant_ids: tuple[str, ...]
    features: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Patches:
    """The n patches that are probed: their subject's and landmark's index and their fold, each (n,)."""

    subject: npt.NDArray[np.int64]
    landmark: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]


def read_landmark_features(folder: str | Path) -> LandmarkFeatures:
    """Return the features per landmark of a run's features folder."""
    import zarr

    store = zarr.open_group(Path(folder) / "landmarks.zarr", mode="r")
    features: Any = store["features"]
    ids: Any = store.attrs["participant_ids"]
    return LandmarkFeatures(tuple(ids), features[:])


def probe_disease(
    runs: Mapping[str, LandmarkFeatures],
    disease: Mapping[str, PatchDisease],
    folds: Mapping[str, int],
    *,
    reference: str,
    readout: Readout,
    seed: int,
) -> dict[str, Any]:
    """Predict the disease fractions of patches out of fold from each run's features, and compare the runs.

    Everything that is fitted - landmark means, scaler, penalty, linear map - sees the training folds alone; the penalty
    is chosen in inner folds by subject. Errors are pooled over all patches of all folds. The intervals come from
    resampling subjects, the same draws for every run: differences are paired.

    Parameters
    ----------
    runs : mapping
        Run -> its features, all of the same participants and landmarks.
    disease : mapping
        Participant id -> the truth of its patches.
    folds : mapping
        Participant id -> fold.
    reference : str
        The run that the others are compared with.
    readout : {"plain", "penalised"}
        Least squares, or ridge.
    seed : int
        Of the inner folds and the bootstrap.

    Returns
    -------
    dict
        JSON-able: ``reference, runs, readout, seed, fold_count, resamples, level, min_lung_fraction, n_subjects``
        (with at least one patch), ``n_patches, n_invalid, n_little_lung`` (patches left out),
        ``participant_ids, patches_per_subject`` and ``targets``: fraction -> ``mean_fraction``, ``location``
        (R2 of the landmark's mean alone), ``runs`` (run -> R2, with ``penalties`` of the folds and ``squared_errors``
        per subject), ``differences`` (run -> its R2 minus the reference's). Each R2 has ``estimate, low, high``.

    Raises
    ------
    InputError
        If the runs do not fit each other, the truth or the folds.
    """
    ids = _check(runs, disease, folds, reference)
    measured = np.stack([disease[name].measured for name in ids])
    subject, landmark = np.nonzero(measured)
    patches = _Patches(subject, landmark, np.array([folds[name] for name in ids])[subject])
    if len(np.unique(patches.fold)) < 2:
        raise InputError("The disease probe needs measured patches in two folds or more: take a larger cohort.")
    inputs = {run: _inputs(run, content.features[measured]) for run, content in runs.items()}
    draws = draw_subjects(len(ids), RESAMPLES, seed)
    targets = {}
    for target in TARGETS:
        truth = np.concatenate([disease[name].fraction(target)[disease[name].measured] for name in ids])
        targets[target] = _probe(inputs, truth, patches, draws, reference=reference, readout=readout, seed=seed)
        logger.info("%s: R2 %s", target, {run: found["estimate"] for run, found in targets[target]["runs"].items()})
    return {
        "reference": reference,
        "runs": list(runs),
        "readout": readout,
        "seed": seed,
        "fold_count": len(set(folds.values())),
        "resamples": RESAMPLES,
        "level": LEVEL,
        "min_lung_fraction": MIN_LUNG_FRACTION,
        "n_subjects": len(np.unique(subject)),
        "n_patches": len(subject),
        "n_invalid": sum(int((~disease[name].valid).sum()) for name in ids),
        "n_little_lung": sum(int((disease[name].valid & ~disease[name].measured).sum()) for name in ids),
        "participant_ids": list(ids),
        "patches_per_subject": measured.sum(axis=1).tolist(),
        "targets": targets,
    }


def _probe(
    inputs: Mapping[str, Floats],
    truth: Floats,
    patches: _Patches,
    draws: npt.NDArray[np.int64],
    *,
    reference: str,
    readout: Readout,
    seed: int,
) -> dict[str, Any]:
    """Probe one fraction from every run's features."""
    subjects = draws.shape[1]
    draws = np.vstack([np.ones(subjects, np.int64), draws])  # the sample itself, then its resamples
    sums = SubjectSums.of(truth, patches.subject, subjects)

    def r2(prediction: Floats) -> tuple[Floats, Floats]:
        errors = sum_by_subject((truth - prediction) ** 2, patches.subject, subjects)
        return pooled_r2(errors, sums, draws), errors

    location, _ = r2(_out_of_fold(None, truth, patches, readout, seed)[0])
    results, values = {}, {}
    for run, features in inputs.items():
        prediction, penalties = _out_of_fold(features, truth, patches, readout, seed)
        values[run], errors = r2(prediction)
        results[run] = {**_summary(values[run]), "penalties": penalties, "squared_errors": errors.tolist()}
    return {
        "mean_fraction": float(truth.mean()),
        "location": _summary(location),
        "runs": results,
        "differences": {run: _summary(values[run] - values[reference]) for run in inputs if run != reference},
    }


def _summary(values: Floats) -> dict[str, Any]:
    return with_interval(float(values[0]), values[1:])


def _out_of_fold(
    inputs: Floats | None, truth: Floats, patches: _Patches, readout: Readout, seed: int
) -> tuple[Floats, list[float]]:
    """Return each patch's prediction, (n,), from the other folds, and the penalty of each fold.

    Without `inputs` the prediction is the landmark's mean. The inner folds that choose the penalty share the centring
    of all training folds: it is the same for every penalty.
    """
    prediction, penalties = np.empty(len(truth)), []
    for fold in np.unique(patches.fold):
        test = patches.fold == fold
        expected = landmark_means(truth, patches.landmark, ~test)
        prediction[test] = expected[test]
        if inputs is not None:
            rest, residual = inputs - landmark_means(inputs, patches.landmark, ~test), truth - expected
            training = (rest[~test], residual[~test])
            penalty = 0.0
            if readout == "penalised":
                penalty = choose_penalty(_FRACTION, *training, seed, clusters=patches.subject[~test])
            model, _ = fit_readout(_FRACTION, penalty, *training)
            prediction[test] += model.predict(rest[test])
            penalties.append(penalty)
    return prediction, penalties


def landmark_means(values: Floats, landmark: npt.NDArray[np.int64], training: npt.NDArray[np.bool_]) -> Floats:
    """Return, for each sample, the mean of its landmark's training samples.

    Parameters
    ----------
    values : (n,) or (n, D) array
        Any unit.
    landmark : (n,) int array
        Index of each sample's landmark.
    training : (n,) bool array
        The samples that means are taken over.

    Returns
    -------
    array of the shape of `values`
        A landmark without training samples takes the mean of all of them.
    """
    means = np.empty(values.shape)
    for place in np.unique(landmark):
        here = landmark == place
        known = here & training
        means[here] = values[known if known.any() else training].mean(axis=0)
    return means


def _check(
    runs: Mapping[str, LandmarkFeatures], disease: Mapping[str, PatchDisease], folds: Mapping[str, int], reference: str
) -> tuple[str, ...]:
    """Return the participants that all runs share."""
    if reference not in runs or len(runs) < 2:
        raise InputError(f"The disease probe compares runs with '{reference}', and has {', '.join(runs)}: name both.")
    shapes = {run: (content.participant_ids, content.features.shape[:2]) for run, content in runs.items()}
    ids, (_, landmarks) = shapes[reference]
    other = [run for run, shape in shapes.items() if shape != shapes[reference]]
    if other:
        raise InputError(
            f"{', '.join(other)}: other participants or landmarks than {reference}; embed the cohort again."
        )
    for what, known in (("true disease", disease), ("fold", folds)):
        missing = [name for name in ids if name not in known]
        if missing:
            raise InputError(f"No {what} is known of {', '.join(missing[:5])}; {len(missing)} participants in all.")
    wrong = [name for name in ids if len(disease[name].valid) != landmarks]
    if wrong:
        raise InputError(f"{wrong[0]}: features and disease are of different numbers of landmarks; embed again.")
    return ids


def _inputs(run: str, features: npt.NDArray[np.float32]) -> Floats:
    if not np.isfinite(features).all():
        raise InputError(f"Features of {run} are not finite: train it again with a lower learning rate.")
    return features.astype(np.float64)
