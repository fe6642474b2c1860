"""The probe of patches' disease: against regression with dummies, on features that must and must not tell."""

import json

import numpy as np
import pytest

from drasclr_core.bootstrap import RESAMPLES
from drasclr_core.disease import PatchDisease
from drasclr_core.disease_probe import LandmarkFeatures, landmark_means, probe_disease
from drasclr_core.errors import InputError
from drasclr_core.metrics import r2
from drasclr_core.phantom_labels import DISEASES
from drasclr_core.readout import choose_penalty
from drasclr_core.tables_disease import disease_markdown
from drasclr_core.tasks import Task

SUBJECTS, LANDMARKS, LUNG = 30, 5, 10_000
IDS = tuple(f"s{number:02d}" for number in range(SUBJECTS))
FOLDS = {name: number % 3 for number, name in enumerate(IDS)}


def disease_of(voxels):
    """Return the truth of a cohort from its centrilobular and ground glass voxels, (N, L); nothing else is diseased."""
    disease = {}
    for number, name in enumerate(IDS):
        diseased = dict.fromkeys(DISEASES, np.zeros(LANDMARKS, np.int64))
        diseased |= {"centrilobular": voxels[number], "ground_glass": voxels[number][::-1] // 2}
        valid = np.arange(LANDMARKS) != number  # landmark n is outside the scan of subject n
        disease[name] = PatchDisease(32**3, valid, np.full(LANDMARKS, LUNG), diseased)
    return disease


@pytest.fixture(scope="module")
def truth():
    """Return voxels of disease, (N, L): a level of the subject, one of the landmark, and some of the patch's own."""
    rng = np.random.default_rng(0)
    level = rng.uniform(0, 5000, (SUBJECTS, 1)) + np.linspace(0, 3500, LANDMARKS)
    return (level + rng.uniform(0, 1500, (SUBJECTS, LANDMARKS))).astype(np.int64)


def features_of(values):
    return LandmarkFeatures(IDS, np.asarray(values, np.float32))


def noise(seed, dim=4):
    return np.random.default_rng(seed).normal(size=(SUBJECTS, LANDMARKS, dim))


def telling(truth, seed=1):
    """Return features that hold the fraction itself among noise."""
    return np.concatenate([noise(seed), truth[..., None] / LUNG], axis=-1)


def alike(seed=5, dim=25):
    """Return features that tell subjects apart and nothing else: a probe can learn subjects by heart from them."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(SUBJECTS, 1, dim)) + rng.normal(0, 0.05, (SUBJECTS, LANDMARKS, dim))


def probe(runs, disease, readout="plain", folds=FOLDS):
    runs = {name: features_of(values) for name, values in runs.items()}
    return probe_disease(runs, disease, folds, reference="untrained", readout=readout, seed=0)


@pytest.fixture(scope="module")
def result(truth):
    return probe(runs_of(truth), disease_of(truth), "penalised")


def runs_of(truth):
    return {"untrained": noise(2), "drasclr": telling(truth), "alike": alike()}


def test_a_feature_that_is_the_fraction_reads_it(result):
    emphysema = result["targets"]["emphysema"]
    assert emphysema["runs"]["drasclr"]["estimate"] > 0.999
    assert emphysema["differences"]["drasclr"]["low"] > 0.1
    expected = emphysema["runs"]["drasclr"]["estimate"] - emphysema["runs"]["untrained"]["estimate"]
    assert emphysema["differences"]["drasclr"]["estimate"] == pytest.approx(expected, abs=1e-12)
    assert result["targets"]["centrilobular"] == emphysema  # no other emphysema in this cohort


def test_noise_is_not_told_from_noise(truth):
    found = probe({"untrained": noise(2), "drasclr": noise(3)}, disease_of(truth))
    difference = found["targets"]["emphysema"]["differences"]["drasclr"]
    assert difference["low"] < 0 < difference["high"]
    assert difference["high"] - difference["low"] < 0.3


def test_the_probe_is_regression_with_a_dummy_for_each_landmark(truth):
    """An oracle: least squares on features and landmark dummies, fitted and pooled without a shared line of code."""
    features, disease = telling(truth)[..., :4] + truth[..., None] * [0, 0, 1e-4, 2e-4], disease_of(truth)
    found = probe({"untrained": features, "drasclr": noise(1)}, disease)["targets"]["emphysema"]["runs"]["untrained"]
    rows = [(s, place) for s in range(SUBJECTS) for place in range(LANDMARKS) if s != place]
    design = np.array([[*features[row].astype(np.float32), *np.eye(LANDMARKS)[row[1]]] for row in rows], np.float64)
    fraction, fold = np.array([truth[row] / LUNG for row in rows]), np.array([row[0] % 3 for row in rows])
    prediction = np.empty(len(rows))
    for held_out in range(3):
        weights = np.linalg.lstsq(design[fold != held_out], fraction[fold != held_out])[0]
        prediction[fold == held_out] = design[fold == held_out] @ weights
    assert found["estimate"] == pytest.approx(r2(fraction, prediction), abs=1e-9)
    errors = [sum((fraction[i] - prediction[i]) ** 2 for i, row in enumerate(rows) if row[0] == s) for s in range(3)]
    assert found["squared_errors"][:3] == pytest.approx(errors, rel=1e-6)
    assert found["penalties"] == [0, 0, 0]


def test_a_feature_that_is_the_location_gains_nothing_over_the_location(truth):
    places = np.broadcast_to(np.eye(LANDMARKS), (SUBJECTS, LANDMARKS, LANDMARKS))
    target = probe({"untrained": noise(1), "drasclr": places}, disease_of(truth))["targets"]["emphysema"]
    assert target["location"]["estimate"] > 0.2
    assert target["runs"]["drasclr"]["estimate"] == pytest.approx(target["location"]["estimate"], abs=1e-9)


def test_patches_that_stand_twice_change_no_interval(truth):
    runs = {"untrained": noise(2), "drasclr": noise(3) + truth[..., None] / 2000}
    once = probe(runs, disease_of(truth))["targets"]["emphysema"]
    doubled = {
        name: PatchDisease(
            one.patch_voxels,
            np.tile(one.valid, 2),
            np.tile(one.lung_voxels, 2),
            {key: np.tile(value, 2) for key, value in one.diseased_voxels.items()},
        )
        for name, one in disease_of(truth).items()
    }
    twice = probe({run: np.tile(values, (1, 2, 1)) for run, values in runs.items()}, doubled)["targets"]["emphysema"]
    for key in ("estimate", "low", "high"):
        assert twice["differences"]["drasclr"][key] == pytest.approx(once["differences"]["drasclr"][key], abs=1e-9)


def test_the_penalty_is_chosen_in_inner_folds_by_subject():
    """Rows of a subject are alike, and what tells subjects apart says nothing: only rows left alone look useful."""
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(40), 10)
    inputs = rng.normal(size=(40, 60))[subject] + rng.normal(0, 0.01, (400, 60))
    label, task = rng.normal(size=40)[subject], Task("fraction", "regression", ("r2",))
    by_row, by_subject = (choose_penalty(task, inputs, label, 0, clusters) for clusters in (None, subject))
    assert by_row < 10 < 1000 < by_subject


def test_the_probe_learns_no_subject_by_heart(result):
    assert min(result["targets"]["emphysema"]["runs"]["alike"]["penalties"]) >= 1000
    assert max(result["targets"]["emphysema"]["runs"]["drasclr"]["penalties"]) < 1


def test_means_are_of_the_training_samples_of_the_landmark():
    values, landmark = np.array([1.0, 3, 8, 10, 100]), np.array([0, 0, 0, 1, 2])
    training = np.array([True, True, False, True, False])
    assert landmark_means(values, landmark, training).tolist() == [2, 2, 2, 10, pytest.approx(14 / 3)]


def test_same_seed_same_result_which_is_json(result, truth):
    again = probe(runs_of(truth), disease_of(truth), "penalised")
    assert json.dumps(again, allow_nan=False) == json.dumps(result)


def test_what_was_used_is_counted(result):
    assert (result["n_subjects"], result["n_patches"]) == (SUBJECTS, SUBJECTS * LANDMARKS - LANDMARKS)
    assert (result["n_invalid"], result["n_little_lung"]) == (LANDMARKS, 0)
    assert result["patches_per_subject"][:6] == [4, 4, 4, 4, 4, 5]
    assert (result["fold_count"], result["resamples"]) == (3, RESAMPLES)


def test_the_page_says_what_was_found(result):
    value = {"estimate": 0.25, "low": -0.5, "high": 0.75}
    task = {"task": "gold", "n": 34, "metrics": {"accuracy": dict.fromkeys(("run", "reference", "difference"), value)}}
    page = disease_markdown(result, [task], primary="drasclr", cohort="toys", config_hash="abc123")
    assert "| gold | accuracy | 34 | 0.250 [-0.500, 0.750] | 0.250 [-0.500, 0.750] | +0.250 [-0.500, +0.750] |" in page
    difference = result["targets"]["emphysema"]["differences"]["drasclr"]
    assert f"**+{difference['estimate']:.3f} [+{difference['low']:.3f}, +{difference['high']:.3f}]**" in page
    assert "`drasclr` minus `untrained`, any emphysema" in page
    assert "the interval lies above zero" in page
    assert "| panlobular | 0.0% | – | – | – |" in page
    assert (
        "30 subjects, 145 patches; left out: 5 with their centre outside the scan, 0 with less than 5% of lung" in page
    )
    assert "3 folds by subject; readout: penalised; seed 0" in page
    assert "Configuration abc123" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs, disease, folds: runs.pop("untrained"), "compares runs with 'untrained', and has drasclr"),
        (lambda runs, disease, folds: runs.pop("drasclr"), "and has untrained: name both"),
        (lambda runs, disease, folds: runs.update(drasclr=features_of(noise(1)[:, 1:])), "drasclr: other participants"),
        (lambda runs, disease, folds: disease.pop("s07"), "No true disease is known of s07; 1 participants"),
        (lambda runs, disease, folds: folds.pop("s03"), "No fold is known of s03"),
        (lambda runs, disease, folds: folds.update(dict.fromkeys(IDS, 0)), "two folds or more"),
        (lambda runs, disease, folds: runs.update(drasclr=features_of(noise(1) * np.nan)), "drasclr are not finite"),
    ],
)
def test_what_does_not_fit_is_refused(truth, change, message):
    runs, disease, folds = (
        {name: features_of(noise(1)) for name in ("untrained", "drasclr")},
        disease_of(truth),
        {**FOLDS},
    )
    change(runs, disease, folds)
    with pytest.raises(InputError, match=message):
        probe_disease(runs, disease, folds, reference="untrained", readout="plain", seed=0)
