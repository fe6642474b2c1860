from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.phantom_ids import phantom_ids
from drasclr_core.cohort.table import validate_participants, write_participants
from drasclr_core.phantom.disease import DISEASES, Holes, annotate_boxes, draw_lesions
from drasclr_core.phantom.labels import draw_traits, gold_stage, participant_row, random_stream
from drasclr_core.phantom.shape import SIDES, lung_depth_mm, lung_depth_of, sample_lung_points
from drasclr_core.phantom.simulate import Scanner, draw_patient, scan, simulate_subject
from drasclr_core.phantom.trees import Grid, ball_fraction, grow_tree, polyline, tube_fraction

COARSE_MM = (5.0, 5.0, 5.0)
FINE_MM = (2.5, 2.5, 2.5)
QUIET = Scanner("smooth", 4.0)
SHARE = {"centrilobular": 0.15, "paraseptal": 0.04, "panlobular": 0.2, "ground_glass": 0.2}


def arrays(phantom):
    return [sitk.GetArrayFromImage(image) for image in (phantom.ct, phantom.truth, phantom.lungs)]


def with_disease(patient, **target):
    """Return the same body with other disease."""
    rng = np.random.default_rng(5)
    points = sample_lung_points(patient.thorax, 8000, rng)
    lesions = draw_lesions(patient.thorax, dict.fromkeys(DISEASES, 0.0) | target, points, rng)
    return replace(patient, lesions=lesions, burdens=lesions.burdens(patient.thorax, points))


@pytest.fixture(scope="module")
def patient():
    return draw_patient("phantom-017", seed=0)


@pytest.fixture(scope="module")
def healthy(patient):
    return arrays(scan(with_disease(patient), FINE_MM, QUIET))


@pytest.fixture(scope="module", params=DISEASES)
def diseased(request, patient):
    """Name of one disease, and the scan of a body that has it alone."""
    return request.param, arrays(scan(with_disease(patient, **{request.param: SHARE[request.param]}), FINE_MM, QUIET))


def test_same_seed_and_id_give_the_same_arrays_and_row():
    first, second = (simulate_subject("phantom-002", 7, COARSE_MM) for _ in range(2))
    for one, other in zip(arrays(first), arrays(second), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.row == second.row
    assert first.boxes == second.boxes


@pytest.mark.parametrize(("other_id", "other_seed"), [("phantom-003", 7), ("phantom-002", 8)])
def test_other_ids_and_seeds_give_other_people(other_id, other_seed):
    first, other = simulate_subject("phantom-002", 7, COARSE_MM), simulate_subject(other_id, other_seed, COARSE_MM)
    assert not np.array_equal(arrays(first)[2], arrays(other)[2])


def test_images_share_one_grid_with_the_field_of_view_in_millimetres():
    phantom = simulate_subject("phantom-001", 0, (5.0, 6.0, 8.0))
    assert phantom.ct.GetSize() == (72, 50, 40)
    for image in (phantom.truth, phantom.lungs):
        assert image.GetSize() == phantom.ct.GetSize()
        assert image.GetOrigin() == phantom.ct.GetOrigin()
        assert image.GetPixelID() == sitk.sitkUInt8
    assert phantom.ct.GetPixelID() == sitk.sitkInt16
    assert phantom.ct.GetSpacing() == (5.0, 6.0, 8.0)
    np.testing.assert_allclose(phantom.ct.TransformContinuousIndexToPhysicalPoint((35.5, 24.5, 19.5)), 0, atol=1e-9)


def test_the_person_does_not_depend_on_the_spacing(patient):
    coarse = arrays(scan(patient, COARSE_MM, QUIET))[2]
    fine = arrays(scan(patient, FINE_MM, QUIET))[2]
    for label in SIDES:
        assert (fine == label).sum() * 2.5**3 == pytest.approx((coarse == label).sum() * 5.0**3, rel=0.02)


@pytest.mark.parametrize("spacing_mm", [(0.1, 1.0, 1.0), (2.0, 2.0, 9.0), (2.0, 2.0), (2.0, float("nan"), 2.0)])
def test_spacings_out_of_range_are_refused(spacing_mm):
    with pytest.raises(InputError, match=r"from 0\.4 to 8\.0 mm"):
        simulate_subject("phantom-001", 0, spacing_mm)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed: -1"):
        draw_patient("phantom-001", -1)


def test_lungs_lie_and_weigh_as_lungs_do(healthy):
    _, _, lungs = healthy
    litres = {label: (lungs == label).sum() * 2.5**3 / 1e6 for label in SIDES}
    assert 3.0 < sum(litres.values()) < 7.0
    assert litres[1] > litres[2]  # the heart takes from the left
    x = [np.nonzero(lungs == label)[2].mean() for label in (1, 2)]
    assert x[0] < x[1]  # LPS: the right lung at smaller x
    assert all(ndimage.label(lungs == label)[1] == 1 for label in SIDES)


def test_tissues_have_their_hounsfield_units(healthy):
    ct, _, lungs = healthy
    inner = ndimage.binary_erosion(lungs > 0, iterations=3)
    assert -890 < np.median(ct[inner]) < -850
    assert np.median(ct[:, :5]) == pytest.approx(-1000, abs=5)  # air in front of the chest
    around = ndimage.binary_dilation(lungs > 0, iterations=6) & ~ndimage.binary_dilation(lungs > 0, iterations=2)
    assert 0 < np.median(ct[around]) < 80  # mostly muscle, heart and liver
    assert (ct > 200).sum() * 2.5**3 > 200e3  # bone, mm3
    assert np.mean((ct > -125) & (ct < -80)) > 0.03  # fat
    assert ct.min() >= -1024


def test_dependent_lung_is_denser(healthy):
    ct, _, lungs = healthy
    inner = ndimage.binary_erosion(lungs > 0, iterations=3)
    front, back = np.percentile(np.nonzero(inner)[1], [25, 75]).astype(int)
    assert np.median(ct[:, back:][inner[:, back:]]) - np.median(ct[:, :front][inner[:, :front]]) > 10


def test_the_trachea_is_air_with_a_wall(patient, healthy):
    ct, _, lungs = healthy
    top = int(np.nonzero(lungs)[0].max()) - 10
    column = patient.thorax.at(0.0, 0.05, 0.85)
    x, y = (int(round((column[a] + half) / 2.5)) for a, half in ((0, 180), (1, 150)))
    window = ct[top, y - 8 : y + 8, x - 8 : x + 8]
    assert window.min() < -950
    assert lungs[top, y - 3 : y + 3, x - 3 : x + 3].max() == 0


def test_vessels_taper_to_the_periphery(patient, healthy):
    ct, _, lungs = healthy
    depth = ndimage.distance_transform_edt(lungs > 0, sampling=2.5)
    shares = [np.mean(ct[(depth > low) & (depth <= high)] > -500) for low, high in ((6, 12), (15, 30), (30, 60))]
    assert 0 < shares[0] < shares[1] < shares[2]


def test_disease_lies_inside_the_lungs_and_takes_its_share(diseased):
    name, (_, truth, lungs) = diseased
    assert set(np.unique(truth)) == {0, 1 + DISEASES.index(name)}
    assert not truth[lungs == 0].any()
    assert np.mean(truth[lungs > 0] > 0) == pytest.approx(SHARE[name], abs=0.02)


def test_disease_lies_where_its_name_says(diseased):
    name, (_, truth, lungs) = diseased
    depth = ndimage.distance_transform_edt(lungs > 0, sampling=2.5)
    heights = np.nonzero(lungs)[0]
    middle = np.median(heights)
    sick = truth > 0
    upper = np.mean(np.nonzero(sick)[0] > middle)
    if name == "centrilobular":
        assert upper > 0.75
        assert np.median(depth[sick]) > np.median(depth[lungs > 0])
    if name == "paraseptal":
        assert upper > 0.75
        assert np.percentile(depth[sick], 90) < 20
    if name == "panlobular":
        assert upper < 0.1
    if name == "ground_glass":
        assert upper < 0.25
        assert np.median(depth[sick]) < np.median(depth[lungs > 0])


def test_disease_changes_the_density_as_it_should(diseased, healthy):
    name, (ct, truth, _) = diseased
    sick = ndimage.binary_erosion(truth > 0)
    change = np.median(ct[sick].astype(int) - healthy[0][sick])
    if name == "ground_glass":
        assert 150 < change < 350
    else:
        assert -120 < change < -50
        assert -1000 < np.median(ct[sick]) < -940


@pytest.mark.parametrize("name", DISEASES)
def test_burden_grows_with_severity(patient, name):
    burdens = [with_disease(patient, **{name: share}).burdens[name] for share in (0.0, 0.01, 0.03, 0.06)]
    assert burdens[0] == 0
    np.testing.assert_allclose(burdens[1:], [0.01, 0.03, 0.06], atol=0.005)


def test_the_true_burden_is_that_of_the_voxels():
    patient = draw_patient("phantom-018", seed=0)
    assert all(patient.burdens[name] > 0.02 for name in DISEASES)
    _, truth, lungs = arrays(scan(patient, FINE_MM, QUIET))
    voxels = np.bincount(truth[lungs > 0], minlength=5) / (lungs > 0).sum()
    np.testing.assert_allclose(voxels[1:], [patient.burdens[name] for name in DISEASES], atol=0.015)


def test_emphysema_inflates_the_chest():
    drawn = [draw_patient(name, seed=1) for name in phantom_ids(12)]
    emphysema = [sum(patient.traits.target_burdens[name] for name in DISEASES[:3]) for patient in drawn]
    assert np.corrcoef(emphysema, [patient.thorax.height_mm for patient in drawn])[0, 1] > 0.4
    assert np.corrcoef(emphysema, [patient.thorax.dome_mm for patient in drawn])[0, 1] < -0.4


@pytest.mark.parametrize("kernel", ["smooth", "sharp"])
def test_noise_has_the_scanners_standard_deviation(patient, kernel):
    less, more = (arrays(scan(with_disease(patient), COARSE_MM, Scanner(kernel, sd)))[0] for sd in (10.0, 40.0))
    inner = (less > -900) & (less < 2000)  # not cut off at -1024
    assert (more.astype(float) - less)[inner].std() == pytest.approx(30.0, rel=0.02)


def test_where_two_kinds_of_holes_meet_the_truth_is_paraseptal_in_voxels_and_burdens(patient):
    sound = with_disease(patient)
    points = sample_lung_points(patient.thorax, 8000, np.random.default_rng(0))
    holes = Holes(points[:40], np.full(40, 15.0))
    truths = {}
    for name, kinds in (("both", ["centrilobular", "paraseptal"]), ("one", ["centrilobular"])):
        lesions = replace(sound.lesions, **dict.fromkeys(kinds, holes))
        burdens = lesions.burdens(patient.thorax, points)
        labels = arrays(scan(replace(sound, lesions=lesions, burdens=burdens), COARSE_MM, QUIET))[1]
        truths[name] = {"voxels": set(labels.ravel()) - {0}, "burdens": {key for key in burdens if burdens[key]}}
    assert truths["one"] == {"voxels": {1}, "burdens": {"centrilobular"}}
    assert truths["both"] == {"voxels": {2}, "burdens": {"paraseptal"}}


def test_laa950_is_confounded_by_kernel_and_dose(patient):
    def laa950_pct(scanner):
        ct, _, lungs = arrays(scan(with_disease(patient), FINE_MM, scanner))
        return 100 * np.mean(ct[lungs > 0] < -950)

    smooth, sharp_low_dose = laa950_pct(Scanner("smooth", 15.0)), laa950_pct(Scanner("sharp", 85.0))
    assert smooth < 2
    assert sharp_low_dose > 10


@pytest.mark.parametrize(
    ("fev1pp", "fev1_fvc", "stage"),
    [
        (100.0, 0.80, 0),
        (80.0, 0.70, 0),
        (79.9, 0.70, -1),
        (20.0, 0.75, -1),
        (80.0, 0.699, 1),
        (79.9, 0.699, 2),
        (50.0, 0.60, 2),
        (49.9, 0.60, 3),
        (30.0, 0.40, 3),
        (29.9, 0.40, 4),
    ],
)
def test_gold_by_the_spirometric_rule(fev1pp, fev1_fvc, stage):
    assert gold_stage(fev1pp, fev1_fvc) == stage


def rows_of(subjects, seed):
    """Return the rows of a cohort from the target burdens, which the true ones follow closely."""
    rows = []
    for index, name in enumerate(phantom_ids(subjects)):
        traits = draw_traits(index, seed, random_stream(seed, index, "traits"))
        rows.append(participant_row(name, traits, traits.target_burdens, random_stream(seed, index, "labels")))
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_forty_subjects_hold_every_stage_and_grade(seed):
    rows = rows_of(40, seed)
    grades = {column: {row[column] for row in rows} - {None} for column in ("gold", "cle", "paraseptal", "covid_grade")}
    assert grades["gold"] == {-1, 0, 1, 2, 3, 4}
    assert grades["cle"] == {0, 1, 2, 3, 4, 5}
    assert grades["paraseptal"] == {0, 1, 2}
    assert grades["covid_grade"] >= {0, 1, 2, 3}


def test_drawn_patients_hold_every_gold_stage():
    by_targets = {row["participant_id"]: row["gold"] for row in rows_of(40, seed=0)}
    one_each = {stage: name for name, stage in by_targets.items() if stage is not None}
    assert {draw_patient(name, seed=0).row["gold"] for name in one_each.values()} == {-1, 0, 1, 2, 3, 4}


@pytest.mark.parametrize("seed", range(3))
def test_function_covid_and_scanner_are_spread_evenly_and_independently(seed):
    traits = [draw_traits(index, seed, random_stream(seed, index, "traits")) for index in range(80)]
    sharp, low_dose = (np.array([getattr(t, name) for t in traits]) for name in ("sharp_kernel", "low_dose"))
    for kernel in (False, True):
        for dose in (False, True):
            assert 17 <= np.sum((sharp == kernel) & (low_dose == dose)) <= 23
    emphysema = [sum(t.target_burdens[name] for name in DISEASES[:3]) for t in traits]
    ground_glass = [t.target_burdens["ground_glass"] for t in traits]
    correlations = np.corrcoef([emphysema, ground_glass, sharp, low_dose])
    assert np.abs(correlations - np.eye(4)).max() < 0.3


def test_labels_follow_the_disease():
    rows = [row for row in rows_of(300, seed=3) if None not in row.values()]
    column = {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name not in TEXT}
    for higher in ("bode", "exacerbations", "gas_trapping_pct", "pi10_mm", "wall_area_pct", "died"):
        assert np.corrcoef(column["fev1pp"], column[higher])[0, 1] < -0.2
    assert np.corrcoef(column["fev1pp"], column["fev1_fvc"])[0, 1] > 0.8
    assert abs(np.corrcoef(column["fev1pp"], column["covid_grade"])[0, 1]) < 0.2
    assert 0.1 < column["died"].mean() < 0.5


TEXT = ("participant_id", "image", "sex", "race", "smoking_status")


def test_a_few_percent_of_the_labels_are_missing():
    rows = rows_of(400, seed=1)
    shares = {column: np.mean([row[column] is None for row in rows]) for column in rows[0]}
    assert all(share == 0 for column, share in shares.items() if column in (*TEXT, "age_years"))
    assert all(0.01 < shares[column] < 0.12 for column in ("fev1pp", "gold", "cle", "bode", "pi10_mm", "died"))
    assert all((row["died"] is None) == (row["followup_days"] is None) for row in rows)


def test_the_schema_accepts_the_table(tmp_path):
    write_participants(rows_of(60, seed=2), tmp_path / "participants.tsv")
    frame = validate_participants(tmp_path / "participants.tsv")
    assert len(frame) == 60
    assert frame["image"][0] == "phantom/phantom-001/ct.nii.gz"
    assert frame["exclude_reason"].isna().all()
    assert frame["laa950_pct"].isna().all()


def test_boxes_hold_disease_of_their_subtype(patient):
    lesions = with_disease(patient, centrilobular=0.15, paraseptal=0.05).lesions
    boxes = [box for seed in range(6) for box in annotate_boxes(lesions, np.random.default_rng(seed))]
    assert {box["subtype"] for box in boxes} == {"centrilobular", "paraseptal"}
    for box in boxes:
        centre = np.array([box["x_mm"], box["y_mm"], box["z_mm"]])
        assert lung_depth_of(patient.thorax, centre[None])[0] > 0
        inside = np.abs(getattr(lesions, box["subtype"]).centres_mm - centre).max(axis=1) <= 16
        assert inside.sum() >= 6


def test_lung_depth_is_a_distance_to_the_pleura(patient):
    x, y, z = Grid((128, 120, 144), (2.5, 2.5, 2.5)).axes_mm()
    depth = lung_depth_mm(patient.thorax, 1, x, y, z)
    distance = ndimage.distance_transform_edt(depth > 0, sampling=2.5)
    assert np.percentile(np.abs(distance - depth)[depth > 0], 95) < 4.0


def test_thick_and_thin_tubes_keep_their_volume():
    grid = Grid((40, 40, 40), (2.0, 2.0, 2.5))
    for radius, tolerance in ((0.3, 1e-4), (6.0, 0.03)):
        tube = polyline([[-20.0, -5.0, 3.0], [20.0, 8.0, -6.0]], radius)
        expected = np.pi * radius**2 * np.linalg.norm([40.0, 13.0, 9.0])
        assert tube_fraction(tube, grid).sum() * 10.0 == pytest.approx(expected, rel=tolerance)


def test_balls_agree_with_a_plain_distance():
    grid = Grid((30, 24, 26), (2.0, 1.5, 2.5))
    rng = np.random.default_rng(0)
    centres, radii = rng.uniform(-25, 25, size=(12, 3)), rng.uniform(1.0, 9.0, size=12)
    x, y, z = grid.axes_mm()
    expected = np.zeros(grid.shape)
    inside = np.all(
        np.abs(np.rint(centres / grid.spacing_mm)) * grid.spacing_mm <= np.array(grid.origin_mm) * -1, axis=1
    )
    for centre, radius in zip(centres[inside], radii[inside], strict=True):
        distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
        expected = np.maximum(expected, np.clip((radius - distance) / 2.5 + 0.5, 0, 1))
    np.testing.assert_allclose(ball_fraction(centres, radii, grid), expected, atol=1e-4)


def test_trees_reach_every_leaf_and_grow_thinner():
    leaves = np.random.default_rng(1).uniform(-50, 50, size=(64, 3))
    tree = grow_tree(np.zeros(3), leaves, 0.5, 3.0, np.random.default_rng(2))
    assert len(tree.start_mm) == 127
    np.testing.assert_allclose(np.sort(tree.end_mm[-64:], axis=0), np.sort(leaves, axis=0))
    assert tree.start_radius_mm[0] == pytest.approx(0.5 * 64 ** (1 / 3))
    assert (np.diff(tree.start_radius_mm) <= 0).all()
