import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import zarr

from drasclr_core.base.errors import InputError
from drasclr_core.base.tables import write_rows
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.evaluate.embedding_map import landmark_importance, map_subjects
from drasclr_core.figures.embedding import draw_map
from drasclr_core.figures.importance import draw, draw_importance, seen_together

COUNT, LANDMARKS, DIM = 40, 4, 3
IDS = [f"s{number:02d}" for number in range(COUNT)]
FOLDS = {name: number % 5 for number, name in enumerate(IDS)}
CARRIER = 2


def toy_features(seed=0):
    """FEV1 depends on the features of landmark `CARRIER` alone."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(COUNT, LANDMARKS, DIM))
    log_fev1pp = 4 + 0.2 * features[:, CARRIER, 0] + 0.01 * rng.normal(size=COUNT)
    return features, pd.DataFrame({"participant_id": IDS, "fev1pp": np.exp(log_fev1pp)})


def importance(features, participants, valid=None):
    valid = np.ones((COUNT, LANDMARKS), bool) if valid is None else valid
    return landmark_importance(
        "log_fev1pp", participants, features, valid, IDS, FOLDS, readout="plain", seed=0
    ).set_index("landmark")


def test_the_landmark_that_carries_the_label_stands_out():
    scores = importance(*toy_features())
    assert scores["score"].idxmax() == CARRIER
    assert scores.loc[CARRIER, "score"] > 0.9
    assert (scores.drop(CARRIER)["score"] < 0.2).all()
    assert set(scores["n"]) == {COUNT}


def test_shuffled_labels_make_no_landmark_important():
    features, participants = toy_features()
    participants["fev1pp"] = np.random.default_rng(1).permutation(participants["fev1pp"])
    assert (importance(features, participants)["score"] < 0.2).all()


def test_a_patch_outside_the_volume_counts_for_nothing():
    features, participants = toy_features()
    valid = np.ones((COUNT, LANDMARKS), bool)
    valid[:7, CARRIER] = False
    features[:7, CARRIER] = 1e6
    scores = importance(features, participants, valid)
    assert scores["n"].tolist() == [COUNT, COUNT, COUNT - 7, COUNT]
    assert scores.loc[CARRIER, "score"] > 0.9


def importance_figure(tmp_path, participants, tasks):
    features, _ = toy_features()
    store = zarr.open_group(tmp_path / "features" / "landmarks.zarr", mode="w")
    for name, values in {
        "features": features,
        "valid": np.ones((COUNT, LANDMARKS), bool),
        "landmarks_mm": np.zeros((LANDMARKS, 3)),
    }.items():
        store.create_array(name, data=values)
    store.attrs["participant_ids"] = IDS
    write_rows(tmp_path / "participants.tsv", participants.columns, participants.to_numpy().tolist())
    write_rows(tmp_path / "folds.tsv", ("participant_id", "fold"), FOLDS.items())
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkUInt8) + 1, str(tmp_path / "atlas.nii.gz"))
    paths = {name: tmp_path / f"{name}.tsv" for name in ("participants", "folds")}
    paths |= {"features": tmp_path / "features", "atlas": tmp_path / "atlas.nii.gz"}
    spec = FigureSpec("Toy", "copd", "landmark_importance", "drasclr", tasks=tasks)
    return draw(spec, paths, {"readout": "plain", "seed": 0})


def test_without_any_score_there_are_no_lungs_but_the_reason(tmp_path):
    _, participants = toy_features()
    nobody = importance_figure(
        tmp_path / "nobody", participants.assign(image="x").drop(columns="fev1pp"), ("log_fev1pp",)
    )
    assert not nobody.drawn
    assert nobody.figure.axes == []
    assert nobody.notes == ["log FEV1pp: no landmark has a score, for too few subjects have the label."]
    assert len(nobody.data) == LANDMARKS
    one = importance_figure(tmp_path / "one", participants.assign(image="x"), ("log_fev1pp", "gold"))
    assert one.drawn
    assert len(one.figure.axes) == 4  # three views and a colour bar, of one task
    assert one.notes[-1] == "GOLD stage: no landmark has a score, for too few subjects have the label."
    assert not any(note.startswith("gold: n") for note in one.notes)


def test_a_landmark_outside_of_everybodys_volume_has_no_score():
    valid = np.ones((COUNT, LANDMARKS), bool)
    valid[:, 1] = False
    scores = importance(*toy_features(), valid)
    assert np.isnan(scores.loc[1, "score"])
    assert scores["n"].tolist() == [COUNT, 0, COUNT, COUNT]


def test_without_the_label_no_landmark_has_a_score():
    features, participants = toy_features()
    scores = importance(features, participants.drop(columns="fev1pp"))
    assert scores["score"].isna().all()
    draw_importance(_with_places(scores.reset_index()), _mask())


def test_principal_components_agree_with_a_singular_value_decomposition():
    features = np.random.default_rng(2).normal(size=(30, 6)) * [1, 50, 3, 1, 1, 1]
    places, explained = map_subjects(features, seed=0)
    standard = (features - features.mean(0)) / features.std(0)
    left, sizes, _ = np.linalg.svd(standard, full_matrices=False)
    for column in range(2):
        ours, theirs = places[f"pca_{column + 1}"], left[:, column] * sizes[column]
        np.testing.assert_allclose(ours * np.sign(ours[0]), theirs * np.sign(theirs[0]), atol=1e-8)
    np.testing.assert_allclose(explained, sizes[:2] ** 2 / (sizes**2).sum())


def test_the_map_depends_on_the_seed_alone():
    features = np.random.default_rng(3).normal(size=(20, 5))
    first, again, other = (map_subjects(features, seed)[0] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(first[["pca_1", "pca_2"]], other[["pca_1", "pca_2"]])


def test_two_groups_stay_apart_in_both_projections():
    group = np.repeat([0, 1], 15)
    features = np.random.default_rng(4).normal(size=(30, 8)) + 20 * group[:, None]
    places, _ = map_subjects(features, seed=0)
    for name in ("pca", "tsne"):
        points = places[[f"{name}_1", f"{name}_2"]].to_numpy()
        centres = np.stack([points[group == value].mean(0) for value in (0, 1)])
        nearest = np.linalg.norm(points[:, None] - centres, axis=-1).argmin(1)
        assert nearest.tolist() == group.tolist()


def test_constant_and_single_features_have_a_map():
    assert np.isfinite(map_subjects(np.ones((6, 1)) * np.arange(6)[:, None], 0)[0].to_numpy()).all()
    with_constant = np.c_[np.arange(6.0), np.ones(6)]
    assert np.isfinite(map_subjects(with_constant, 0)[0].to_numpy()).all()


def test_too_few_subjects_are_refused():
    with pytest.raises(InputError, match="4 subjects are too few"):
        map_subjects(np.eye(4), seed=0)


# Drawings


def _mask():
    mask = sitk.GetImageFromArray(np.ones((4, 5, 6), np.uint8))
    mask.SetSpacing((10, 10, 10))
    mask.SetOrigin((-20, -20, -20))
    return mask


def _with_places(scores):
    places = {"x_mm": [0, 0, 10, 30], "y_mm": [0, 10, 10, 10], "z_mm": [0, 0, 0, 0]}
    return scores.assign(**places)


def test_landmarks_behind_one_another_are_averaged():
    rows = _with_places(pd.DataFrame({"score": [0.1, 0.3, 0.5, 0.7]}))
    seen = seen_together(rows, "x", "z")
    assert seen["x_mm"].tolist() == [0, 10, 30]
    assert seen["mean"].tolist() == pytest.approx([0.2, 0.5, 0.7])
    assert seen["size"].tolist() == [2, 1, 1]


@pytest.mark.parametrize("backwards", [False, True])
def test_lungs_and_landmarks_are_in_sight_and_upright(backwards):
    mask = _mask()
    if backwards:  # the same place, stored from back to front
        mask = sitk.Flip(mask, (False, True, False))
        assert mask.GetDirection()[4] == -1
    scores = pd.DataFrame({"task": "gold", "metric": "accuracy", "landmark": range(4), "score": [0.1, 0.3, 0.5, 0.7]})
    coronal, sagittal, axial = draw_importance(_with_places(scores), mask).axes[:3]
    assert coronal.get_xlim() == (-45, 55)
    assert coronal.get_ylim() == (-45, 35)
    assert sagittal.get_xlim() == (-45, 45)
    assert axial.get_ylim() == (45, -45)  # the front is above
    np.testing.assert_array_equal(axial.collections[0].get_offsets(), [[0, 0], [0, 10], [10, 10], [30, 10]])


def test_classes_have_a_legend_with_counts_and_scales_a_bar():
    places = map_subjects(np.random.default_rng(5).normal(size=(12, 4)), seed=0)[0]
    gold = [-1.0, 0, 0, 1, 2, 2, 2, 3, 4, 4, np.nan, np.nan]
    figure = draw_map(
        places.assign(gold=gold, fev1pp=np.repeat([50.5, 80.0], 6)), ["gold", "fev1pp"], np.array([0.5, 0.2])
    )
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["PRISm (n=1)", "0 (n=2)", "1 (n=1)", "2 (n=3)", "3 (n=1)", "4 (n=2)"]
    assert figure.axes[1].get_legend() is None
    shown = np.concatenate([points.get_offsets() for points in figure.axes[0].collections])
    assert sorted(shown[:, 0]) == pytest.approx(sorted(places["pca_1"]))
