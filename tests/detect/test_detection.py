import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from box_cohort import BOX, box_cohort
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from toy_bank import toy_grid

from drasclr_core.cohort.boxes import WITHOUT_ENCODER
from drasclr_core.detect.linear import evaluate_linear, evaluate_location, random_codes
from drasclr_core.detect.masks import auroc_of_counts, figure_subjects, mask_metrics, stored_probability
from drasclr_core.detect.scoring import evaluate_patches, is_positive, linear_detector
from drasclr_core.detect.windows import BoxGrid, low_attenuation, model_values, plain_values
from drasclr_core.evaluate.metrics import f1, precision, recall
from drasclr_core.model.encoder import Encoder, normalise_hu
from drasclr_core.model.folder import Model

COMMON = {"run": "r", "seed": 0, "fold_count": 5}
ORACLES = {f1: f1_score, precision: precision_score, recall: recall_score}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    encoder = Encoder(feature_dim=6, num_experts=2)
    for conv in encoder.convs:
        torch.nn.init.normal_(conv.routing.weight, 0, 2)
    return Model(encoder.eval(), toy_grid(), {"architecture": {"feature_dim": 6, "num_experts": 2}})


@pytest.mark.parametrize("metric", ORACLES, ids=lambda metric: metric.__name__)
def test_metrics_are_those_of_scikit_learn(metric):
    rng = np.random.default_rng(0)
    cases = [(rng.integers(0, 2, n), rng.integers(0, 2, n)) for n in (1, 2, 3, 50) for _ in range(20)]
    ones, zeros = np.ones(4, int), np.zeros(4, int)
    cases += [(a, b) for a in (ones, zeros) for b in (ones, zeros)]  # no positives, none predicted, all, neither
    for truth, prediction in cases:
        ours, theirs = metric(truth, prediction), ORACLES[metric](truth, prediction, zero_division=np.nan)
        assert math.isnan(theirs) if ours is None else ours == pytest.approx(theirs, abs=1e-15)


def test_metrics_refuse_anything_but_two_classes():
    with pytest.raises(ValueError, match="must be 0 or 1"):
        f1([0, 2], [0, 1])


def test_a_quarter_of_the_voxels_counted_by_hand():
    # A box of 4 x 4 x 4 voxels, windows of 2: each of the 8 stands for an eighth.
    weights = BoxGrid.cells(4, 2).weights
    assert weights.tolist() == [0.125] * 8
    probability = np.zeros((4, 8))
    probability[0, :1] = 0.9  # 1/8
    probability[1, 2:4] = 0.9  # 2/8: a quarter is enough
    probability[2] = 0.5  # not above one half
    probability[3, [0, 3, 7]] = 0.51  # 3/8
    assert is_positive(probability, weights).tolist() == [False, True, False, True]


def test_windows_stand_for_every_voxel_of_a_box_once():
    grid = BoxGrid.cells(11, 4)  # cells of 4, 4 and 3 voxels along each axis
    assert sorted(set(grid.voxels.ravel())) == [1, 5, 9]
    assert grid.weights.sum() == pytest.approx(1)
    assert grid.weights[0] == pytest.approx(64 / 11**3)
    assert grid.weights[-1] == pytest.approx(27 / 11**3)
    assert BoxGrid.cells(11, 5).voxels.max() == 10  # the last cell is a single voxel, the window stays in the box
    assert BoxGrid.cells(3, 1).voxels.tolist() == [[z, y, x] for z in range(3) for y in range(3) for x in range(3)]


def test_a_window_sees_its_voxels_with_its_own_code(model):
    patches = box_cohort(subjects=4, each=1)
    grid = BoxGrid.cells(BOX, 2)
    found = model_values(model, patches, grid, block=1)
    for place in range(len(patches)):
        for window, (z, y, x) in enumerate(grid.voxels):
            code = patches.codes[place] + (grid.voxels[window] - patches.centre) @ patches.code_steps[place]
            patch = torch.from_numpy(patches.hu[place, z : z + 32, y : y + 32, x : x + 32].copy())
            with torch.no_grad():
                slow = model.encoder(normalise_hu(patch)[None, None], torch.from_numpy(code).float())[0]
            np.testing.assert_allclose(found[place, window], slow, rtol=1e-3, atol=1e-5)


def test_another_location_gives_other_features(model):
    patches = box_cohort(subjects=4, each=1)
    centre = BoxGrid.centre(patches)
    own, same, other = (model_values(model, patches, centre, codes=c) for c in (None, patches.codes, -patches.codes))
    np.testing.assert_allclose(own, same, atol=1e-6)
    assert np.abs(own - other).max() > 1e-3


def test_low_attenuation_is_a_share_of_the_lung():
    patches = box_cohort(subjects=2, each=1)
    hu, lungs = np.full_like(patches.hu, -900), np.zeros_like(patches.lungs)
    lungs[0, 2:4, 2:7, 2:12] = 1  # 100 voxels of lung, 25 below -950; dark voxels outside of it do not count
    hu[0, 2:3, 2:7, 2:7] = -951
    hu[0, 20:] = -1000
    found = low_attenuation(replace(patches, hu=hu, lungs=lungs), BoxGrid.centre(patches))
    assert found[:, 0, 0].tolist() == [0.25, 0.0]


def features_of(patches, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    sick = patches.subtypes == "centrilobular"
    return sick, sick[:, None] + rng.normal(0, noise, (len(patches), 3))


def evaluate(patches, labels, features, windows=None):
    windows = features[:, None] if windows is None else windows
    weights = np.full(windows.shape[1], 1 / windows.shape[1])
    predict = linear_detector(patches, labels, features, windows, weights, readout="penalised", seed=0)
    return evaluate_patches(
        "centrilobular_detection", "linear", patches, labels, predict, readout="penalised", **COMMON
    )


def test_a_linear_detector_finds_what_can_be_seen_and_its_evaluation_is_whole():
    patches = box_cohort(subjects=20)
    labels, features = features_of(patches)
    result = evaluate(patches, labels, features)
    assert result["summary"]["f1"]["mean"] > 0.9
    assert (result["n"], result["reason"], len(result["folds"])) == (60, None, 5)
    truth, found = (np.concatenate([fold[key] for fold in result["folds"]]) for key in ("truth", "prediction"))
    assert truth.sum() == labels.sum()
    assert np.mean([f1_score(f["truth"], f["prediction"]) for f in result["folds"]]) == result["summary"]["f1"]["mean"]
    assert len(found) == 60
    assert result["notes"] == ["centrilobular_detection: 30 boxes of 10 and 30 healthy patches of 10 subjects."]


def test_shuffled_labels_give_chance():
    patches = box_cohort(subjects=60)
    _, features = features_of(patches)
    scores = []
    for seed in range(5):
        labels = np.random.default_rng(seed).permutation(patches.subtypes == "centrilobular")
        folds = evaluate(patches, labels, features)["folds"]
        scores += [np.mean(np.array(fold["truth"]) == fold["prediction"]) for fold in folds]
    assert abs(np.mean(scores) - 0.5) < 0.06  # five times 180 patches: 0.017 is the standard deviation of chance


def test_subjects_never_cross_folds():
    patches = box_cohort(subjects=20)
    labels, _ = features_of(patches)
    seen = []

    def predict(train, test, fold):
        assert not set(patches.participants[train]) & set(patches.participants[test])
        assert not (train & test).any()
        assert (patches.folds[test] == fold).all()
        seen.extend(patches.participants[test])
        return labels[test], {"penalty": None, "converged": True}

    evaluate_patches("centrilobular_detection", "finetuned", patches, labels, predict, readout="none", **COMMON)
    assert sorted(seen) == sorted(patches.participants)


def test_the_detector_reads_the_windows_not_the_patch():
    patches = box_cohort(subjects=20)
    labels, features = features_of(patches, noise=0.1)
    windows = np.repeat(features[:, None], 4, axis=1)
    windows[:, 1:] = features[~labels].mean(axis=0)  # one window of four as the patch, the others healthy
    assert evaluate(patches, labels, features, windows)["summary"]["recall"]["mean"] == 1.0
    windows = np.repeat(windows[:, 1:2], 5, axis=1)
    windows[:, 0] = features  # one of five is less than a quarter
    assert evaluate(patches, labels, features, windows)["summary"]["recall"]["mean"] == 0.0


def test_what_a_fold_of_one_kind_cannot_say_is_left_out_of_the_mean():
    patches = box_cohort(subjects=10, each=4)  # four boxes and four healthy patches a fold
    labels = patches.subtypes == "centrilobular"
    kept = ~(((patches.folds == 0) & ~labels) | ((patches.folds == 1) & labels))
    patches, labels = patches.take(kept), labels[kept]

    def predict(train, test, fold):
        return np.resize([True, True, True, False], test.sum()), {"penalty": None, "converged": True}

    result = evaluate_patches("centrilobular_detection", "linear", patches, labels, predict, readout="none", **COMMON)
    metrics = [fold["metrics"] for fold in result["folds"]]
    # Fold 0 has boxes alone, of which three are found; fold 1 healthy patches alone; the others 3 hits of 6 calls.
    assert metrics[0] == {"f1": None, "precision": None, "recall": 0.75}
    assert metrics[1] == {"f1": None, "precision": None, "recall": None}
    assert metrics[2:] == [{"f1": pytest.approx(0.6), "precision": 0.5, "recall": 0.75}] * 3
    assert [result["summary"][name]["mean"] for name in ("f1", "precision", "recall")] == pytest.approx(
        [0.6, 0.5, 0.75]
    )
    assert result["notes"][1:] == [
        "centrilobular_detection: no healthy patch in fold 0, hence no f1 and precision there.",
        "centrilobular_detection: no annotated patch in fold 1, hence no f1 and precision there.",
    ]


def test_inner_folds_of_a_detector_are_by_person():
    patches = box_cohort(subjects=40, each=1)
    labels = np.random.default_rng(1).permutation(np.arange(40) % 2 == 0)
    features = np.random.default_rng(0).normal(size=(20, 40)).repeat(2, axis=0)
    labels = labels[::2].repeat(2)
    weakest, sick = {}, labels[::2].sum()
    for name, persons in (("persons", np.arange(20).repeat(2)), ("scans", np.arange(40))):
        whose = replace(patches, persons=persons.astype(str), folds=np.arange(20).repeat(2) % 5)
        found = evaluate(whose, labels, features)
        weakest[name] = min(fold["penalty"] for fold in found["folds"])
        each = len(set(persons)) // 20
        assert (
            f" of {each * sick} and {40 - 2 * sick} healthy patches of {each * (20 - sick)} subjects."
            in found["notes"][0]
        )
    assert weakest["scans"] < 1 < weakest["persons"]


def test_what_cannot_be_evaluated_says_why():
    patches = box_cohort(subjects=20)
    labels, features = features_of(patches)
    none = patches.detection("paraseptal")
    results = [
        evaluate(patches.take(none), labels[none], features[none]),
        evaluate(patches.take(labels), labels[labels], features[labels]),
        evaluate(replace(patches, folds=np.zeros_like(patches.folds)), labels, features),
    ]
    assert [r["reason"].split(":")[0] for r in results] == [
        "no annotated box",
        "no healthy subject",
        "all patches are in one fold",
    ]
    assert all(r["folds"] == [] and r["summary"]["f1"] == {"mean": None, "sd": None} for r in results)


def test_windows_without_an_encoder_by_a_plain_loop():
    patches, grid = box_cohort(subjects=4, each=1), BoxGrid.cells(BOX, 3)
    places, fine = (partial(plain_values, method)(patches, grid) for method in ("no_image", "histogram"))
    coarse = partial(plain_values, "histogram", scales=3)(patches, grid)
    assert (fine.shape[2], coarse.shape[2]) == (30, 90)
    for place in range(len(patches)):
        for window, (z, y, x) in enumerate(grid.voxels):
            code = patches.codes[place] + sum(
                step * (at - patches.centre) for step, at in zip(patches.code_steps[place], (z, y, x), strict=True)
            )
            np.testing.assert_allclose(places[place, window], code, atol=1e-6)
            seen = np.clip(patches.hu[place, z : z + 32, y : y + 32, x : x + 32], -1024, 240)
            counts, _ = np.histogram(seen, bins=30, range=(-1024, 240))
            np.testing.assert_allclose(fine[place, window], np.sqrt(counts / 32**3), atol=1e-6)
            np.testing.assert_array_equal(coarse[place, window, :30], fine[place, window])


def test_both_subtypes_are_evaluated_with_and_without_an_encoder(model):
    patches = box_cohort(subjects=10, each=1)
    common = {**COMMON, "readout": "plain"}
    encoder = partial(model_values, model, block=3)
    first = {}
    for name, values in {
        "encoder": encoder,
        **{method: partial(plain_values, method) for method in WITHOUT_ENCODER},
    }.items():
        found = list(evaluate_linear(values, patches, stride=3, **common))
        assert [(r["task"], r["variant"]) for r in found] == [
            ("centrilobular_detection", "linear"),
            ("paraseptal_detection", "linear"),
        ]
        assert found[1]["reason"] == "no annotated box"
        first[name] = found[0]["summary"]["f1"]["mean"]
    assert first["laa950"] == first["histogram"] == 1.0  # the disease is dark


def test_the_location_alone_finds_disease_that_has_its_place():
    patches = box_cohort(subjects=20, each=1)
    above = np.where(patches.subtypes == "centrilobular", 2.0, -2.0)
    placed = replace(patches, hu=np.zeros_like(patches.hu), codes=patches.codes + above[:, None])
    values = partial(plain_values, "no_image")
    found = next(evaluate_linear(values, placed, stride=5, readout="penalised", **COMMON))
    assert found["summary"]["f1"]["mean"] == 1.0


def test_random_locations_lie_in_the_lungs_of_the_atlas(model):
    mask = np.zeros((30, 30, 30), np.uint8)
    mask[4:9, 10:20, 12:14] = 1
    lungs = sitk.GetImageFromArray(mask)
    lungs.SetOrigin((3.0, -5.0, 1.0))
    codes = random_codes(model.grid, lungs, 500, np.random.default_rng(0))
    voxels = np.array([[15.0, 5, 5], [16, 14, 9]])  # the first and the last of the lungs, in mm
    released = replace(model.grid, convention="released")
    corner_codes = random_codes(released, lungs, 500, np.random.default_rng(0))
    # A window at a voxel has its centre half a voxel beyond, its corner 15 before: the landmark of either convention.
    for found, to_landmark in ((codes, 0.5), (corner_codes, -15)):
        low, high = model.grid.code_of(voxels + to_landmark)
        np.testing.assert_allclose(found.min(axis=0), low, atol=1e-9)
        np.testing.assert_allclose(found.max(axis=0), high, atol=1e-9)
    assert len(np.unique(codes, axis=0)) > 50
    found = list(evaluate_location(model, box_cohort(subjects=10, each=1), lungs, **COMMON, readout="penalised"))
    assert [(r["task"], r["variant"]) for r in found] == [
        (f"{subtype}_location", variant)
        for variant in ("patch_location", "random_location")
        for subtype in ("centrilobular", "paraseptal")
    ]
    assert found[0]["summary"]["accuracy"]["mean"] is not None


def test_the_figures_of_a_mask_are_right():
    rng = np.random.default_rng(0)
    diseased = rng.random(500) < 0.2
    stored = np.clip(rng.normal(100 + 60 * diseased, 40), 0, 255).astype(np.uint8)
    found = mask_metrics(stored, diseased)
    positive = stored >= 128
    assert found["auroc"] == pytest.approx(roc_auc_score(diseased, stored), abs=1e-12)
    assert found["dice"] == pytest.approx(f1_score(diseased, positive))
    assert found["fraction"] == positive.mean()
    assert mask_metrics(stored, None) == {"fraction": positive.mean()}
    assert mask_metrics(stored, np.zeros(500, bool))["auroc"] is None
    assert auroc_of_counts([[0, 3], [3, 0]]) == 0.0
    assert auroc_of_counts([[2, 2], [5, 5]]) == 0.5


def test_one_half_exactly_is_disease_in_a_mask():
    probability = np.array([[[0.4999, 0.5, 0.5001, 0.9]]], np.float32)
    lungs = np.array([[[True, True, True, False]]])
    stored = stored_probability(probability, lungs)
    assert stored.tolist() == [[[127, 128, 128, 0]]]
    assert mask_metrics(stored[lungs], None) == {"fraction": 2 / 3}


def test_one_subject_of_each_stage_is_shown():
    gold = {"a": 0.0, "b": 0.0, "c": 2.0, "d": -1.0, "e": 4.0}
    chosen = figure_subjects(gold, seed=0)
    assert set(chosen) == {0, 2, 4}
    assert chosen[0] in "ab"
    assert (chosen[2], chosen[4]) == ("c", "e")
    assert chosen == figure_subjects(dict(reversed(gold.items())), seed=0)
