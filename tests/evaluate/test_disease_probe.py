"""The probe of patches' disease: against regression with dummies, on features that must and must not tell."""

import json

import numpy as np
import pytest
import zarr
from toy_bank import toy_bank

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import write_json
from drasclr_core.config.tasks import Task
from drasclr_core.evaluate import disease_probe
from drasclr_core.evaluate.bootstrap import RESAMPLES
from drasclr_core.evaluate.disease_probe import ProbedPatches, landmark_means, out_of_fold, probe_disease
from drasclr_core.evaluate.disease_rows import LandmarkFeatures, Training, bank_histograms, read_training
from drasclr_core.evaluate.metrics import r2
from drasclr_core.evaluate.readout import choose_penalty
from drasclr_core.evaluate.truth import PatchDisease
from drasclr_core.phantom.labels import DISEASES

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


def trainings_of(runs):
    """Return trainings named as of a workflow: run, or run/seed-S."""
    seeds = {name: int(name.partition("/seed-")[2] or 0) for name in runs}
    names = {name: name.partition("/")[0] for name in runs}
    return [Training(name, run, run, seeds[name], "last", features_of(runs[name])) for name, run in names.items()]


def probe(runs, disease, readout="plain", folds=FOLDS, comparators=()):
    without = {name: features_of(values) for name, values in dict(comparators).items()}
    return probe_disease(trainings_of(runs), without, disease, folds, reference="untrained", readout=readout, seed=0)


@pytest.fixture(scope="module")
def result(truth):
    return probe(runs_of(truth), disease_of(truth), "penalised")


def runs_of(truth):
    return {"untrained": noise(2), "drasclr": telling(truth), "alike": alike()}


def test_a_feature_that_is_the_fraction_reads_it(result):
    emphysema = result["targets"]["emphysema"]
    assert emphysema["r2"]["drasclr"]["estimate"] > 0.999
    assert emphysema["differences"]["drasclr"]["untrained"]["low"] > 0.1
    expected = emphysema["r2"]["drasclr"]["estimate"] - emphysema["r2"]["untrained"]["estimate"]
    assert emphysema["differences"]["drasclr"]["untrained"]["estimate"] == pytest.approx(expected, abs=1e-12)
    assert result["targets"]["centrilobular"] == emphysema  # no other emphysema in this cohort


def test_noise_is_not_told_from_noise(truth):
    found = probe({"untrained": noise(2), "drasclr": noise(3)}, disease_of(truth))
    difference = found["targets"]["emphysema"]["differences"]["drasclr"]["untrained"]
    assert difference["low"] < 0 < difference["high"]
    assert difference["high"] - difference["low"] < 0.3


def test_the_probe_is_regression_with_a_dummy_for_each_landmark(truth):
    """An oracle: least squares on features and landmark dummies, fitted and pooled without a shared line of code."""
    features, disease = telling(truth)[..., :4] + truth[..., None] * [0, 0, 1e-4, 2e-4], disease_of(truth)
    found = probe({"untrained": features, "drasclr": noise(1)}, disease)["targets"]["emphysema"]["r2"]["untrained"]
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
    assert target["r2"]["location"]["estimate"] > 0.2
    assert target["r2"]["drasclr"]["estimate"] == pytest.approx(target["r2"]["location"]["estimate"], abs=1e-9)


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
        assert twice["differences"]["drasclr"]["untrained"][key] == pytest.approx(
            once["differences"]["drasclr"]["untrained"][key], abs=1e-9
        )


def test_the_penalty_is_chosen_in_inner_folds_by_subject():
    """Rows of a subject are alike, and what tells subjects apart says nothing: only rows left alone look useful."""
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(40), 10)
    inputs = rng.normal(size=(40, 60))[subject] + rng.normal(0, 0.01, (400, 60))
    label, task = rng.normal(size=40)[subject], Task("fraction", "regression", ("r2",))
    by_row, by_subject = (choose_penalty(task, inputs, label, 0, clusters) for clusters in (None, subject))
    assert by_row < 10 < 1000 < by_subject


def test_the_probe_learns_no_subject_by_heart(result):
    assert min(result["targets"]["emphysema"]["r2"]["alike"]["penalties"]) >= 1000
    assert max(result["targets"]["emphysema"]["r2"]["drasclr"]["penalties"]) < 1


def test_several_labels_are_probed_as_each_alone():
    rng = np.random.default_rng(0)
    subject, landmark = (each.ravel() for each in np.mgrid[:SUBJECTS, :LANDMARKS])
    patches = ProbedPatches(subject, landmark, subject % 3)
    inputs = rng.normal(size=(len(subject), 6))
    labels = np.stack([inputs @ [1, 2, 0, 0, 0, 3], rng.normal(size=len(subject))], axis=1)
    for readout in ("plain", "penalised"):
        together, penalties = out_of_fold(inputs, labels, patches, readout, 0)
        for place in range(2):
            alone, own = out_of_fold(inputs, labels[:, [place]], patches, readout, 0)
            np.testing.assert_allclose(together[:, [place]], alone, rtol=0, atol=1e-9)
            assert [each[place] for each in penalties] == [each[0] for each in own]
    assert max(each[0] for each in penalties) < 1 < min(each[1] for each in penalties)


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


def test_a_comparator_is_a_row_like_a_training(truth, monkeypatch):
    """An oracle: ridge in closed form, with the penalties that were chosen."""
    monkeypatch.setattr(disease_probe, "TARGETS", ["emphysema"])
    features, disease = alike(dim=6) + telling(truth)[..., 4:] * 3, disease_of(truth)
    runs = {"untrained": noise(2), "drasclr": noise(3)}
    target = probe(runs, disease, "penalised", comparators={"histogram": features})["targets"]["emphysema"]
    rows = [(s, place) for s in range(SUBJECTS) for place in range(LANDMARKS) if s != place]
    values = np.array([features[row].astype(np.float32) for row in rows], np.float64)
    fraction = np.array([truth[row] / LUNG for row in rows])
    fold, place = (np.array(column) for column in zip(*((s % 3, place) for s, place in rows), strict=True))
    prediction, location = np.empty(len(rows)), np.empty(len(rows))
    for held_out, penalty in enumerate(target["r2"]["histogram"]["penalties"]):
        train, test = fold != held_out, fold == held_out
        known = [train & (place == each) for each in range(LANDMARKS)]
        rest = values - np.stack([values[here].mean(axis=0) for here in known])[place]
        mean_fraction = np.array([fraction[here].mean() for here in known])[place]
        scaled = rest / rest[train].std(axis=0)
        gram = scaled[train].T @ scaled[train] + penalty * np.eye(6)
        weights = np.linalg.solve(gram, scaled[train].T @ (fraction - mean_fraction)[train])
        location[test] = mean_fraction[test]
        prediction[test] = location[test] + scaled[test] @ weights
    assert target["r2"]["histogram"]["estimate"] == pytest.approx(r2(fraction, prediction), abs=1e-6)
    assert target["r2"]["location"]["estimate"] == pytest.approx(r2(fraction, location), abs=1e-12)
    expected = target["r2"]["drasclr"]["estimate"] - target["r2"]["histogram"]["estimate"]
    assert target["differences"]["drasclr"]["histogram"]["estimate"] == pytest.approx(expected, abs=1e-12)
    assert list(target["differences"]) == ["drasclr"]


def test_a_training_is_compared_with_the_untrained_of_its_seed(truth):
    trained = {"drasclr": telling(truth), "drasclr/seed-7": noise(4) + truth[..., None] / 2000}
    runs = {"untrained": noise(2), "untrained/seed-7": noise(3), **trained}
    found = probe(runs, disease_of(truth), comparators={"histogram": noise(5)})
    assert [(row["name"], row["run"], row["seed"]) for row in found["rows"]] == [
        ("location", "location", 0),
        ("histogram", "histogram", 0),
        ("untrained", "untrained", 0),
        ("untrained/seed-7", "untrained", 7),
        ("drasclr", "drasclr", 0),
        ("drasclr/seed-7", "drasclr", 7),
    ]
    target = found["targets"]["emphysema"]
    r2s = {name: value["estimate"] for name, value in target["r2"].items()}
    differences = {name: target["differences"][name]["untrained"]["estimate"] for name in trained}
    assert differences["drasclr"] == pytest.approx(r2s["drasclr"] - r2s["untrained"], abs=1e-12)
    assert differences["drasclr/seed-7"] == pytest.approx(r2s["drasclr/seed-7"] - r2s["untrained/seed-7"], abs=1e-12)
    over = target["over_trainings"]["drasclr"]
    pair = [r2s[name] for name in trained]
    assert over["n"] == 2
    assert over["r2"] == {"mean": pytest.approx(sum(pair) / 2), "sd": pytest.approx(abs(pair[0] - pair[1]) / 2**0.5)}
    assert over["differences"]["untrained"]["mean"] == pytest.approx(sum(differences.values()) / 2)
    assert set(over["differences"]) == {"untrained", "histogram"}


def save_features(folder, content, features, warnings=()):
    """Write what of a features folder the probe reads."""
    store = zarr.create_group(folder / "landmarks.zarr", attributes={"participant_ids": IDS})
    store.create_array("features", data=content.features)
    model = {"architecture": {"feature_dim": 4}, "warnings": list(warnings)}
    write_json(folder / "record.json", {"model": model, "features": features})


def test_pooled_trainings_are_read_by_their_last_layer_too(truth, tmp_path):
    contents = {
        "untrained": features_of(noise(2, dim=6)),
        "untrained/seed-7": features_of(noise(3, dim=6)),
        "drasclr": features_of(np.concatenate([noise(4), telling(truth)], axis=-1)),
        "drasclr/seed-7": features_of(telling(truth, seed=9)),
    }
    trainings = []
    for name, content in contents.items():
        save_features(tmp_path / name, content, "pooled", ["it collapsed"] if name == "drasclr" else [])
        told = {"name": name, "run": name.partition("/")[0], "seed": int(name.partition("/seed-")[2] or 0)}
        trainings += read_training(tmp_path / name, **told)
    settings = {"reference": "untrained", "readout": "plain", "seed": 0}
    found = probe_disease(trainings, {"histogram": features_of(noise(5))}, disease_of(truth), FOLDS, **settings)
    assert [tuple(row[key] for key in ("name", "label", "run", "seed", "features")) for row in found["rows"]] == [
        ("location", "location", "location", 0, None),
        ("histogram", "histogram", "histogram", 0, None),
        ("untrained", "untrained", "untrained", 0, "pooled"),
        ("untrained (last)", "untrained (last)", "untrained", 0, "last"),
        ("untrained/seed-7", "untrained", "untrained", 7, "pooled"),
        ("untrained/seed-7 (last)", "untrained (last)", "untrained", 7, "last"),
        ("drasclr", "drasclr", "drasclr", 0, "pooled"),
        ("drasclr (last)", "drasclr (last)", "drasclr", 0, "last"),
        ("drasclr/seed-7", "drasclr", "drasclr", 7, "pooled"),
        ("drasclr/seed-7 (last)", "drasclr (last)", "drasclr", 7, "last"),
    ]
    assert [row["name"] for row in found["rows"] if row["warnings"]] == ["drasclr", "drasclr (last)"]
    target = found["targets"]["emphysema"]
    r2s = {name: value["estimate"] for name, value in target["r2"].items()}
    # As if the first columns had been embedded alone, beside the same comparators.
    alone = {name: content.features[..., :4] for name, content in contents.items()}
    expected = probe(alone, disease_of(truth))["targets"]["emphysema"]["r2"]
    for name in contents:
        assert r2s[f"{name} (last)"] == pytest.approx(expected[name]["estimate"], abs=1e-9)
    assert r2s["drasclr"] > 0.99 > r2s["drasclr (last)"]
    for name, partner in {"drasclr/seed-7": "untrained/seed-7", "drasclr (last)": "untrained (last)"}.items():
        difference = target["differences"][name]["untrained"]["estimate"]
        assert difference == pytest.approx(r2s[name] - r2s[partner], abs=1e-12)
        assert set(target["differences"][name]) == {"untrained", "histogram"}
    over = target["over_trainings"]
    assert list(over) == ["untrained", "untrained (last)", "drasclr", "drasclr (last)"]
    pair = [r2s["drasclr (last)"], r2s["drasclr/seed-7 (last)"]]
    assert over["drasclr (last)"]["r2"]["mean"] == pytest.approx(sum(pair) / 2)
    assert over["drasclr (last)"]["n"] == over["drasclr"]["n"] == 2


def test_trainings_read_by_their_last_layer_have_one_row(truth, tmp_path):
    save_features(tmp_path, features_of(telling(truth)), "last")
    (training,) = read_training(tmp_path, name="drasclr/seed-7", run="drasclr", seed=7)
    assert (training.name, training.label, training.features) == ("drasclr/seed-7", "drasclr", "last")
    np.testing.assert_array_equal(training.content.features, telling(truth).astype(np.float32))


def test_histograms_of_a_bank_are_those_of_its_patches():
    bank = toy_bank(subjects=3)
    found = bank_histograms(bank)
    assert {name: content.features.shape[2] for name, content in found.items()} == {"histogram": 30, "histogram3": 90}
    for subject, landmark in np.ndindex(bank.valid.T.shape):
        patch = np.clip(bank.row(landmark)[subject], -1024, 240)
        counts, _ = np.histogram(patch, bins=30, range=(-1024, 240))
        for content in found.values():
            np.testing.assert_allclose(content.features[subject, landmark, :30], np.sqrt(counts / 32**3), atol=1e-6)
            assert content.participant_ids == tuple(bank.participant_ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs, disease, folds: runs.pop("untrained"), "compares runs with 'untrained', and has drasclr"),
        (lambda runs, disease, folds: runs.pop("drasclr"), "and has untrained: name both"),
        (lambda runs, disease, folds: runs.update({"drasclr/seed-3": noise(1)}), r"runs.untrained.seeds lacks \[3\]"),
        (lambda runs, disease, folds: runs.update(drasclr=noise(1)[:, 1:]), "drasclr: other participants"),
        (lambda runs, disease, folds: disease.pop("s07"), "No true disease is known of s07; 1 participants"),
        (lambda runs, disease, folds: folds.pop("s03"), "No fold is known of s03"),
        (lambda runs, disease, folds: folds.update(dict.fromkeys(IDS, 0)), "two folds or more"),
        (lambda runs, disease, folds: runs.update(drasclr=noise(1) * np.nan), "drasclr are not finite"),
    ],
)
def test_what_does_not_fit_is_refused(truth, change, message):
    runs, disease, folds = {"untrained": noise(1), "drasclr": noise(1)}, disease_of(truth), {**FOLDS}
    change(runs, disease, folds)
    with pytest.raises(InputError, match=message):
        probe(runs, disease, folds=folds)
