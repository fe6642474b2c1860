"""A linear probe of a patch's true disease fraction from its feature, and trainings compared by it.

The probe has one intercept per landmark: features and fractions are centred by their landmark's means over the training
subjects, and one linear map, shared by all landmarks, reads the rest. Where in the lung a patch lies predicts part of
its disease by itself, and an encoder that is told the location could hand it through; with the intercept every row is
given the location, and none gains by encoding it. What the location alone explains is a row of its own; so is what the
histograms of the patch tell, without any learning, to the same probe.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError
from drasclr_core.config.tasks import Task
from drasclr_core.evaluate.bootstrap import (
    LEVEL,
    RESAMPLES,
    SubjectSums,
    draw_subjects,
    pooled_r2,
    sum_by_subject,
    with_interval,
)
from drasclr_core.evaluate.disease_rows import LOCATION, LandmarkFeatures, Training, compared
from drasclr_core.evaluate.metrics import mean_and_sd
from drasclr_core.evaluate.probes import Readout
from drasclr_core.evaluate.readout import choose_penalty, fit_readout
from drasclr_core.evaluate.truth import MIN_LUNG_FRACTION, TARGETS, PatchDisease

logger = logging.getLogger(__name__)

_FRACTION = Task("disease fraction", "regression", ("r2",))

_TOLD = ("name", "label", "run", "seed", "features", "warnings")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProbedPatches:
    """The n patches that are probed: their subject's and landmark's index and their fold, each (n,)."""

    subject: npt.NDArray[np.int64]
    landmark: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]


def probe_disease(
    trainings: Sequence[Training],
    comparators: Mapping[str, LandmarkFeatures],
    disease: Mapping[str, PatchDisease],
    folds: Mapping[str, int],
    *,
    reference: str,
    readout: Readout,
    seed: int,
) -> dict[str, Any]:
    """Predict the disease fractions of patches out of fold from the features of each training, and compare them.

    Everything that is fitted - landmark means, scaler, penalty, linear map - sees the training folds alone; the penalty
    is chosen in inner folds by subject. Errors are pooled over all patches of all folds. The intervals come from
    resampling subjects, the same draws for every row: differences are paired.

    Parameters
    ----------
    trainings : sequence of Training
        All of the same participants and landmarks.
    comparators : mapping
        Name -> what was not learnt, of the same; `disease_rows.bank_histograms`.
    disease : mapping
        Participant id -> the truth of its patches.
    folds : mapping
        Participant id -> fold.
    reference : str
        The run whose training of the same seed, read alike, the others are compared with, beside the comparators.
    readout : {"plain", "penalised"}
        Least squares, or ridge.
    seed : int
        Of the inner folds and the bootstrap.

    Returns
    -------
    dict
        JSON-able: ``reference, readout, seed, fold_count, resamples, level, min_lung_fraction, n_subjects`` (with at
        least one patch), ``n_patches, n_invalid, n_little_lung`` (patches left out),
        ``participant_ids, patches_per_subject``; ``rows``, each with ``name, label, run, seed, features, warnings``:
        first "location", then the comparators (their seed is `seed`, for nothing was trained, and their features
        None), then the trainings; and ``targets``: fraction -> ``mean_fraction``, ``r2`` (row's name -> R2, with
        ``penalties`` of the folds and ``squared_errors`` per subject), ``differences`` (training's name -> of what ->
        its R2 minus that of the other) and ``over_trainings`` (label -> ``n, r2`` and ``differences``, each a ``mean``
        and sample ``sd``). Each R2 and difference has ``estimate, low, high``.

    Raises
    ------
    InputError
        If the trainings do not fit each other, the truth or the folds, or the reference lacks a seed.
    """
    contents = {**comparators, **{training.name: training.content for training in trainings}}
    against = compared(trainings, comparators, reference)
    ids = _check(contents, disease, folds)
    measured = np.stack([disease[name].measured for name in ids])
    subject, landmark = np.nonzero(measured)
    patches = ProbedPatches(subject, landmark, np.array([folds[name] for name in ids])[subject])
    if len(np.unique(patches.fold)) < 2:
        raise InputError("The disease probe needs measured patches in two folds or more: take a larger cohort.")
    inputs = {name: _inputs(name, content.features[measured]) for name, content in contents.items()}
    draws = draw_subjects(len(ids), RESAMPLES, seed)
    labels = {each.label: None for each in trainings}
    groups = {label: [each.name for each in trainings if each.label == label] for label in labels}
    fractions = [[disease[name].fraction(target)[disease[name].measured] for target in TARGETS] for name in ids]
    truth = np.concatenate(fractions, axis=1).T
    predictions, penalties = {}, {}
    for name, features in {LOCATION: None, **inputs}.items():
        predictions[name], penalties[name] = out_of_fold(features, truth, patches, readout, seed)
        logger.info("%s: probed", name)
    targets = {}
    for place, target in enumerate(TARGETS):
        own = {name: prediction[:, place] for name, prediction in predictions.items()}
        found = _judge(own, truth[:, place], patches, draws, against)
        for name, result in found["r2"].items():
            result["penalties"] = [float(each[place]) for each in penalties[name]]
        targets[target] = {**found, "over_trainings": _over_trainings(found, groups, against)}
        logger.info("%s: R2 %s", target, {name: value["estimate"] for name, value in found["r2"].items()})
    return {
        "reference": reference,
        "rows": [
            *(
                {**dict.fromkeys(("name", "label", "run"), name), "seed": seed, "features": None, "warnings": []}
                for name in (LOCATION, *comparators)
            ),
            *({key: getattr(each, key) for key in _TOLD} for each in trainings),
        ],
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


def _judge(
    predictions: Mapping[str, Floats],
    truth: Floats,
    patches: ProbedPatches,
    draws: npt.NDArray[np.int64],
    against: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Judge what each row predicts of one fraction, and compare the rows."""
    subjects = draws.shape[1]
    draws = np.vstack([np.ones(subjects, np.int64), draws])  # the sample itself, then its resamples
    sums = SubjectSums.of(truth, patches.subject, subjects)
    results, values = {}, {}
    for name, prediction in predictions.items():
        errors = sum_by_subject((truth - prediction) ** 2, patches.subject, subjects)
        values[name] = pooled_r2(errors, sums, draws)
        results[name] = {**_summary(values[name]), "squared_errors": errors.tolist()}
    return {
        "mean_fraction": float(truth.mean()),
        "r2": results,
        "differences": {
            name: {other: _summary(values[name] - values[row]) for other, row in others.items()}
            for name, others in against.items()
        },
    }


def _summary(values: Floats) -> dict[str, Any]:
    return with_interval(float(values[0]), values[1:])


def _over_trainings(
    found: Mapping[str, Any], groups: Mapping[str, list[str]], against: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Return the mean and the sample standard deviation of each label's estimates over its trainings."""

    def spread(values: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
        mean, sd = mean_and_sd([value["estimate"] for value in values])
        return {"mean": mean, "sd": sd}

    return {
        label: {
            "n": len(names),
            "r2": spread(found["r2"][name] for name in names),
            "differences": {
                other: spread(found["differences"][name][other] for name in names)
                for other in against.get(names[0], {})
            },
        }
        for label, names in groups.items()
    }


def out_of_fold(
    inputs: Floats | None, truth: Floats, patches: ProbedPatches, readout: Readout, seed: int
) -> tuple[Floats, list[Floats]]:
    """Return each patch's predictions, (n, T), from the other folds, and the penalties, (T,), of each fold.

    `inputs` are (n, D), `truth` is (n, T). Without `inputs` the prediction is the landmark's mean. The inner folds that
    choose the penalty share the centring of all training folds: it is the same for every penalty.
    """
    prediction, penalties = np.empty(truth.shape), []
    for fold in np.unique(patches.fold):
        test = patches.fold == fold
        expected = landmark_means(truth, patches.landmark, ~test)
        prediction[test] = expected[test]
        if inputs is not None:
            rest, residual = inputs - landmark_means(inputs, patches.landmark, ~test), truth - expected
            training = (rest[~test], residual[~test])
            penalty = np.zeros(truth.shape[1])
            if readout == "penalised":
                penalty = choose_penalty(_FRACTION, *training, seed, clusters=patches.subject[~test])
            model, _ = fit_readout(_FRACTION, penalty, *training)
            prediction[test] += model.predict(rest[test]).reshape(-1, truth.shape[1])  # of one label it is flat
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
    contents: Mapping[str, LandmarkFeatures], disease: Mapping[str, PatchDisease], folds: Mapping[str, int]
) -> tuple[str, ...]:
    """Return the participants that all rows share."""
    shapes = {name: (content.participant_ids, content.features.shape[:2]) for name, content in contents.items()}
    first = next(iter(shapes))
    ids, (_, landmarks) = shapes[first]
    other = [name for name, shape in shapes.items() if shape != shapes[first]]
    if other:
        raise InputError(f"{', '.join(other)}: other participants or landmarks than {first}; embed the cohort again.")
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
