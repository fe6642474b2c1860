"""The picture of nearest patches: against plain loops, on a bank of people whose patches tell whose they are."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import zarr
from sklearn.metrics import r2_score
from toy_bank import toy_grid

from drasclr_core.atlas.bank import build_bank
from drasclr_core.atlas.patches import cut_patches, write_patches
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import Record, write_record
from drasclr_core.cohort.folds import write_folds
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.evaluate.disease_map import most_diseased_slice
from drasclr_core.evaluate.retrieval import (
    choose_queries,
    mean_difference,
    median_subject,
    nearest_of_others,
    unit_features,
)
from drasclr_core.evaluate.truth import measure_disease, read_cohort
from drasclr_core.figures.drawing import make_figure
from drasclr_core.figures.neighbours import NEAREST

SPEC = FigureSpec("Toy", "copd", "patch_neighbours", "drasclr", reference="untrained")
PERSONS = np.array([0, 1, 1, 2, 3, 4, 5, 6])  # of the second there are two scans
NAMES = [f"p{number}" for number in range(8)]
STARTS_ZYX = np.array([[4, 4, 4], [4, 4, 28], [28, 4, 4], [24, 24, 24]])


def plain_nearest(features, subject, persons, usable, count):
    """Return the most similar of other persons, by a loop over all."""
    mean = sum(features[usable]) / usable.sum()
    found = []
    for other, feature in enumerate(features):
        if usable[other] and persons[other] != persons[subject]:
            a, b = feature - mean, features[subject] - mean
            found.append((float(a @ b / np.sqrt((a @ a) * (b @ b))), other))
    return sorted(found, reverse=True)[:count]


def test_the_nearest_are_those_of_a_plain_loop_and_of_other_persons():
    rng = np.random.default_rng(0)
    features, usable = rng.normal(3, 1, (8, 5)), np.array([1, 1, 1, 1, 0, 1, 1, 1], bool)
    for subject in np.flatnonzero(usable):
        found, similarity = nearest_of_others(unit_features(features, usable), subject, PERSONS, usable, 3)
        expected = plain_nearest(features, subject, PERSONS, usable, 3)
        assert found.tolist() == [other for _, other in expected]
        np.testing.assert_allclose(similarity, [value for value, _ in expected])
        assert PERSONS[subject] not in PERSONS[found]


def test_fewer_others_than_asked_for_are_all_of_them():
    units = unit_features(np.eye(3), np.ones(3, bool))
    assert len(nearest_of_others(units, 0, np.arange(3), np.ones(3, bool), 4)[0]) == 2


def test_features_that_are_all_alike_are_no_nan():
    assert unit_features(np.ones((4, 3), np.float32), np.ones(4, bool)).tolist() == [[0.0] * 3] * 4


def test_queries_are_at_the_quantiles_and_equals_in_the_order_of_subjects():
    share = np.array([[0.0, 0.3], [0.0, np.nan], [0.1, 0.2]])  # in order: 0, 0, 0.1, 0.2, 0.3
    assert choose_queries(share, (0, 0.25, 0.5, 1)) == [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert choose_queries(np.zeros((2, 2)), (0, 1)) == [(0, 0), (1, 1)]


def test_the_subject_is_the_median_of_those_with_disease():
    assert median_subject(np.array([0.0, 0.5, 0.1, 0.0, 0.3])) == 4
    assert median_subject(np.array([0.0, 0.4, 0.1])) == 1
    assert median_subject(np.zeros(3)) is None


def test_the_mean_difference_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    features, share = rng.normal(size=(8, 3, 4)), rng.uniform(0, 1, (8, 3))
    share[2, 1] = np.nan
    expected = []
    for subject, landmark in np.argwhere(np.isfinite(share)):
        usable = np.isfinite(share[:, landmark])
        found = plain_nearest(features[:, landmark], subject, PERSONS, usable, 2)
        expected.append(np.mean([abs(share[other, landmark] - share[subject, landmark]) for _, other in found]))
    assert mean_difference(features, share, PERSONS, 2) == pytest.approx(np.mean(expected))


# The slice


def write_volume(path, array, axes="LPS"):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(sitk.GetImageFromArray(array), axes), str(path))


def write_phantom(folder, name, seed, axes="LPS"):
    """Write a phantom of 60 voxels of 1 mm with its stages; its emphysema fills a slab that grows with the seed."""
    lungs = np.zeros((60, 60, 60), np.uint8)
    lungs[5:55, 5:55, 5:55] = 1
    truth = np.zeros_like(lungs)
    truth[5 : 5 + 6 * seed, 20:40, 10:50] = 1
    truth[5 : 5 + 6 * seed, 30, 5:55] = 2  # most of it lies in row 30
    truth[50:55, 50:55] = 4  # ground glass is no emphysema
    noise = np.random.default_rng(seed).integers(-950, -800, lungs.shape).astype(np.int16)
    ct_hu = np.where(lungs > 0, noise, 40).astype(np.int16)
    write_volume(folder / "phantom" / name / "truth.nii.gz", truth)
    write_volume(folder / "phantom" / name / "lungs.nii.gz", lungs)
    write_volume(folder / "ingest" / name / "ct.nii.gz", ct_hu, axes)
    starts = STARTS_ZYX.copy()
    if axes == "LAS":
        ct_hu, starts[:, 1] = ct_hu[:, ::-1], 60 - 32 - starts[:, 1]
    hu, valid = cut_patches(ct_hu, starts, 32)
    valid[3] = seed != 2  # one patch that cannot be used
    (folder / "patches" / name).mkdir(parents=True)
    write_patches(folder / "patches" / name / "patches.zarr", hu, starts, valid)
    stages = [folder / stage / name for stage in ("phantom", "ingest", "patches")]
    (folder / "disease" / name).mkdir(parents=True)
    measure_disease(*stages, folder / "disease" / name)
    write_record(folder / "disease" / name, Record(name, "disease", "ok"))
    return stages


@pytest.mark.parametrize("axes", ["LPS", "LAS"])
def test_the_slice_holds_most_emphysema_and_each_place_has_the_nearest_patch(tmp_path, axes):
    stages = write_phantom(tmp_path, "p5", 5, axes)
    measured = np.array([True, True, False, True])
    found = most_diseased_slice(*stages, measured, "emphysema")
    assert found.y_mm == 30
    assert found.diseased.sum() == 30 * 50
    assert found.lungs.sum() == 50 * 50
    assert found.ct_hu[0, 0] == 40
    centres = STARTS_ZYX + 15.5
    for z, x in ((10, 10), (10, 50), (50, 10), (40, 40), (55, 30)):
        distances = [sum((np.array([z, 30, x]) - centre) ** 2) for centre in centres]
        assert found.patch[z, x] == min((0, 1, 3), key=distances.__getitem__)


# The figure


@pytest.fixture
def cohort(tmp_path):
    """Write a cohort of phantoms, and features of two runs, of which the first knows the disease; return the paths."""
    for number, name in enumerate(NAMES):
        write_phantom(tmp_path, name, number)
    folders = {stage: [str(tmp_path / stage / name) for name in NAMES] for stage in ("phantom", "ingest", "patches")}
    folders["disease"] = [str(tmp_path / "disease" / name) for name in NAMES]
    persons = {name: NAMES[PERSONS.tolist().index(person)] for name, person in zip(NAMES, PERSONS, strict=True)}
    build_bank(folders["patches"], NAMES, tmp_path / "bank.zarr", grid=toy_grid(), persons=persons)
    write_folds({name: int(person) % 3 for name, person in zip(NAMES, PERSONS, strict=True)}, tmp_path / "folds.tsv")
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(8, 4, 3)).astype(np.float32)
    known = noise.copy()
    known[..., 0] = np.nan_to_num(shares(folders)) + 1e-4 * noise[..., 0]
    known[..., 1:] *= 1e-4
    for run, features in (("drasclr", known), ("untrained", noise)):
        store = zarr.create_group(tmp_path / run / "landmarks.zarr", attributes={"participant_ids": NAMES})
        store.create_array("features", data=features)
    runs = {"features": str(tmp_path / "drasclr"), "reference": str(tmp_path / "untrained")}
    return {**runs, **folders, "bank": str(tmp_path / "bank.zarr"), "folds": str(tmp_path / "folds.tsv")}


def shares(folders):
    disease = read_cohort(folders["disease"])
    return np.stack([disease[name].fraction("emphysema") for name in NAMES])


def drawn(folder, paths):
    settings = {"seed": 0, "readout": "penalised", "trainings": 1}
    make_figure(SPEC, paths, settings, folder / "f.png", folder / "f.csv")
    assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")
    return pd.read_csv(folder / "f.csv"), json.loads((folder / "f.json").read_text(encoding="utf-8"))["notes"]


def test_the_data_are_the_nearest_of_each_query_with_their_true_shares(tmp_path, cohort):
    data, notes = drawn(tmp_path, cohort)
    truth = shares(cohort)
    rows = data[data["panel"] == "neighbours"]
    np.testing.assert_allclose(
        rows["share"], [truth[NAMES.index(n), m] for n, m in rows[["participant_id", "landmark"]].values], rtol=1e-5
    )
    features = zarr.open_group(f"{cohort['reference']}/landmarks.zarr")["features"][:].astype(np.float64)
    for _, query in rows[rows["rank"] == 0].iterrows():
        subject, landmark = NAMES.index(query["participant_id"]), query["landmark"]
        usable = np.isfinite(truth[:, landmark])
        expected = plain_nearest(features[:, landmark], subject, PERSONS, usable, NEAREST)
        found = rows[(rows["query"] == query["query"]) & (rows["features"] == "untrained")]
        assert found["participant_id"].tolist() == [NAMES[other] for _, other in expected]
        np.testing.assert_allclose(found["similarity"], [value for value, _ in expected], rtol=1e-4)
    assert (rows["rank"] == 0).sum() == 3
    assert notes[0].startswith("A row begins with a patch of one person")
    known = {
        name: mean_difference(zarr.open_group(f"{cohort[key]}/landmarks.zarr")["features"][:], truth, PERSONS, NEAREST)
        for name, key in (("trained", "features"), ("untrained", "reference"))
    }
    assert f"by {100 * known['trained']:.1f} percentage points on average (trained)" in notes[1]
    assert known["trained"] < known["untrained"]


def test_the_map_is_of_the_median_subject_and_reads_what_the_features_know(tmp_path, cohort):
    data, notes = drawn(tmp_path, cohort)
    maps = data[data["panel"] == "map"]
    assert set(maps["participant_id"]) == {"p4"}  # of the phantoms 1 to 7 with emphysema, which grows with the number
    trained, untrained = (maps[maps["features"] == name] for name in ("trained", "untrained"))
    assert len(trained) == len(untrained) == 4
    np.testing.assert_allclose(trained["estimate"], trained["share"], atol=0.03)
    assert r2_score(trained["share"], trained["estimate"]) > r2_score(untrained["share"], untrained["estimate"])
    assert "participant p4, of the median share" in notes[2]


def test_without_known_truth_there_are_neither_shares_nor_a_map(tmp_path, cohort):
    paths = {key: cohort[key] for key in ("features", "reference", "bank")}
    data, notes = drawn(tmp_path, paths)
    assert set(data["panel"]) == {"neighbours"}
    assert data["share"].isna().all()
    assert data["similarity"].notna().sum() == 3 * 2 * NEAREST
    assert len(notes) == 1
    assert "the true disease is known of phantoms alone" in notes[0]


def test_features_of_others_than_the_banks_are_refused(tmp_path, cohort):
    zarr.open_group(f"{cohort['reference']}/landmarks.zarr").attrs["participant_ids"] = NAMES[::-1]
    with pytest.raises(InputError, match="features of other participants than the bank: embed the cohort again"):
        drawn(tmp_path, cohort)
