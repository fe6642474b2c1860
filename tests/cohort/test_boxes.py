import numpy as np
import pytest
import SimpleITK as sitk
from toy_bank import toy_grid

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import cut_patches, patch_starts
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.errors import InputError
from drasclr_core.cohort.boxes import (
    Box,
    box_voxels,
    choose_healthy,
    deal_places,
    healthy_ids,
    read_boxes,
    usable_boxes,
)
from drasclr_core.detect.patches import BoxPatches, cut_boxes, healthy_centres, read_box_patches, write_box_patches

HEADER = "participant_id\tsubtype\tx_mm\ty_mm\tz_mm\n"
FOLDS = {"ill": 0, "sound": 1, "whole": 2}
PERSONS = {"ill": "ill", "sound": "sound", "whole": "sound"}


def table(folder, *lines, header=HEADER):
    path = folder / "boxes.tsv"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_boxes_are_read_as_they_stand(tmp_path):
    path = table(tmp_path, "a\tcentrilobular\t1.5\t-2\t3e1", "b\tparaseptal\t0\t0\t0")
    assert read_boxes(path) == [Box("a", "centrilobular", (1.5, -2.0, 30.0)), Box("b", "paraseptal", (0.0, 0.0, 0.0))]


def test_every_fault_of_a_table_is_named(tmp_path):
    path = table(tmp_path, "a\tcentrolobular\t1\t2\t3", "\tparaseptal\t1\tnan\t3", "b\tparaseptal\t1\t2")
    with pytest.raises(InputError) as caught:
        read_boxes(path)
    for part in (
        "line 2, subtype: 'centrolobular'",
        "line 3, participant_id",
        "line 3, y_mm: 'nan'",
        "line 4: 4 cells where the header has 5",
    ):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="line 3: unexpected end of data"):
        read_boxes(table(tmp_path, "a\tparaseptal\t1\t2\t3", 'b\tparaseptal\t1\t2\t"3', "c\tparaseptal\t1\t2\t3"))
    with pytest.raises(InputError, match="column 'z_mm' is missing"):
        read_boxes(table(tmp_path, header="participant_id\tsubtype\tx_mm\ty_mm\n"))
    with pytest.raises(InputError, match="does not exist"):
        read_boxes(tmp_path / "none.tsv")


def test_boxes_of_nobody_in_the_cohort_are_said():
    boxes = [Box(name, "paraseptal", (0, 0, 0)) for name in ("in", "out", "out", "unknown")]
    used, reasons = usable_boxes(boxes, ["in"], ["in", "out"])
    assert used == boxes[:1]
    assert reasons == ["2 boxes of out, who was excluded", "1 boxes of unknown, who is not in the participants table"]


def test_the_healthy_have_three_labels_and_all_are_zero():
    rows = [
        {"participant_id": "text", "gold": "0", "cle": "0", "paraseptal": "0"},
        {"participant_id": "number", "gold": 0.0, "cle": 0.0, "paraseptal": 0.0},
        {"participant_id": "unknown", "gold": "0", "cle": "", "paraseptal": "0"},
        {"participant_id": "missing", "gold": 0, "cle": None, "paraseptal": 0},
        {"participant_id": "prism", "gold": "-1", "cle": "0", "paraseptal": "0"},
        {"participant_id": "ill", "gold": "0", "cle": "1", "paraseptal": "0"},
        {"participant_id": "lacking", "gold": "0"},
        {"participant_id": "unchecked", "gold": "none", "cle": "0", "paraseptal": "0"},
        {"participant_id": "excluded", "gold": "0", "cle": "0", "paraseptal": "0", "exclude_reason": "motion"},
        {"participant_id": "included", "gold": "0", "cle": "0", "paraseptal": "0", "exclude_reason": ""},
    ]
    assert healthy_ids(rows) == ["included", "number", "text"]


def test_healthy_subjects_are_as_many_as_the_annotated_and_places_go_round():
    names = [f"h{i}" for i in range(9)]
    annotated = ["a", "b", "c", "h0"]
    chosen = choose_healthy(names, annotated, seed=1)
    assert len(set(chosen)) == 4
    assert chosen == choose_healthy(reversed(names), annotated, seed=1)
    assert chosen != choose_healthy(names, annotated, seed=2)
    assert sorted(choose_healthy(names, [f"a{i}" for i in range(99)], seed=1)) == names
    assert sorted(choose_healthy(names, [*(f"a{i}" for i in range(99)), "h0"], seed=1)) == names[1:]
    assert deal_places(["a", "b", "c"], 7) == ["a", "b", "c", "a", "b", "c", "a"]
    assert deal_places([], 7) == []


@pytest.mark.parametrize(("spacing_mm", "voxels"), [(1.0, 32), (3.0, 11), (5.0, 6), (64.0, 1)])
def test_a_box_is_32_mm_wide(spacing_mm, voxels):
    assert box_voxels(32.0, spacing_mm) == voxels


def image(array):
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((4.0, 4.0, 4.0))
    made.SetOrigin((-30.0, 12.0, 7.0))
    return made


def toy_subject(name, seed):
    rng = np.random.default_rng(seed)
    subject = Subject(name)
    mask = np.zeros((30, 28, 26), np.uint8)
    mask[10:15, 8:20, 9:12] = 1
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((0.9, 0.1, 0.05, 0.2, 1.1, 0, -0.1, 0.15, 1.2))
    transform.SetTranslation((10, -7, 4))
    values = {
        "ct": image(rng.integers(-1000, 0, mask.shape).astype(np.int16)),
        "lungs": image(mask),
        "transform": transform,
    }
    subject.__dict__.update(values)  # what its cached readers would have read
    return subject


def coarse_grid():
    return LandmarkGrid.from_json({**toy_grid().to_json(), "spacing_mm": 4.0})


def cut(boxes, healthy=("sound",), **more):
    subjects = {name: toy_subject(name, seed) for seed, name in enumerate(FOLDS, 1)}
    return subjects, cut_boxes(boxes, healthy, subjects.__getitem__, coarse_grid(), FOLDS, PERSONS, seed=3, **more)


BOXES = [
    Box("ill", "centrilobular", (10.0, 60.0, 60.0)),
    Box("ill", "paraseptal", (-29.0, 13.0, 8.0)),
    Box("ill", "centrilobular", (21.3, 44.4, 55.5)),
]


def test_a_box_is_cut_and_placed_like_a_landmark_at_its_centre():
    subjects, patches = cut(BOXES)
    assert patches.box == 8
    grid, ill = coarse_grid(), subjects["ill"]
    for place, box in enumerate(BOXES):
        index = np.floor(np.array(ill.ct.TransformPhysicalPointToContinuousIndex(box.centre_mm)) - 15.5 + 0.5)
        start = index.astype(int)
        expected, _ = cut_patches(sitk.GetArrayFromImage(ill.ct), start[None, ::-1], 32)
        c = patches.centre
        assert (patches.hu[place, c : c + 32, c : c + 32, c : c + 32] == expected[0]).all()
        # The code of the patch is that of the atlas point whose patch it is; one voxel on it grows by a step.
        centre_mm = ill.ct.TransformContinuousIndexToPhysicalPoint((start + 15.5).tolist())
        point = ill.transform.GetInverse().TransformPoint(centre_mm)
        np.testing.assert_allclose(patches.codes[place], grid.code_of(np.array([point]))[0], atol=1e-12)
        on_mm = ill.ct.TransformContinuousIndexToPhysicalPoint((start + 15.5 + [0, 0, 1]).tolist())
        beyond = grid.code_of(np.array([ill.transform.GetInverse().TransformPoint(on_mm)]))[0]
        np.testing.assert_allclose(patches.codes[place] + patches.code_steps[place, 0], beyond, atol=1e-12)
        moved = patch_starts(LandmarkGrid(**{**vars(grid), "points_mm": np.array([point])}), ill.transform, ill.ct)
        assert (moved[0] == start).all()


def test_healthy_places_are_in_the_lungs_seeded_and_as_many_as_the_commoner_subtype():
    subjects, patches = cut(BOXES)
    assert patches.subtypes.tolist() == ["centrilobular", "paraseptal", "centrilobular", "healthy", "healthy"]
    assert patches.folds.tolist() == [0, 0, 0, 1, 1]
    lungs = subjects["sound"].lungs
    for centre in patches.centres_mm[3:]:
        assert lungs[lungs.TransformPhysicalPointToIndex(centre.tolist())] == 1
    again = cut(BOXES)[1]
    assert (again.centres_mm == patches.centres_mm).all()
    assert healthy_centres(lungs, 3, "sound", 3)[:2] == [tuple(c) for c in patches.centres_mm[3:]]
    assert healthy_centres(lungs, 3, "sound", 4) != healthy_centres(lungs, 3, "sound", 3)
    assert len(patches.detection("paraseptal")) == 2
    assert patches.detection("centrilobular").tolist() == [0, 2, 3, 4]


def test_healthy_places_of_the_rarer_subtype_are_of_as_many_subjects_as_there_can_be():
    boxes = [*BOXES, Box("ill", "paraseptal", (5.0, 60.0, 60.0)), Box("ill", "centrilobular", (15.0, 60.0, 60.0))]
    _, patches = cut(boxes, healthy=["whole", "sound"])
    assert patches.participants[5:].tolist() == ["whole", "sound", "whole"]
    assert patches.persons.tolist() == ["ill"] * 5 + ["sound"] * 3
    rarer = patches.take(patches.detection("paraseptal"))
    assert rarer.participants.tolist() == ["ill", "ill", "whole", "sound"]
    voxel = 4.0
    for name, hu in zip(rarer.participants[2:], rarer.hu[2:], strict=True):  # cut from the scan they are said to be of
        centre = rarer.centres_mm[rarer.participants == name][0]
        ct = toy_subject(name, list(FOLDS).index(name) + 1).ct
        at = np.floor((centre - np.array(ct.GetOrigin())) / voxel - 15.5 + 0.5).astype(int)
        expected, _ = cut_patches(sitk.GetArrayFromImage(ct), at[None, ::-1], 32)
        c = rarer.centre
        assert (hu[c : c + 32, c : c + 32, c : c + 32] == expected[0]).all()


def test_a_box_beyond_the_scan_is_said(caplog):
    far = Box("ill", "centrilobular", (500.0, 0.0, 0.0))
    _, patches = cut([*BOXES, far], left_out=["2 boxes of out, who was excluded"])
    assert len(patches) == 5
    assert patches.left_out[1] == "1 box of ill, whose centre (500, 0, 0) mm is outside of the scan"
    assert "2 boxes of out" in caplog.text
    assert "outside of the scan" in caplog.text


@pytest.mark.parametrize("boxes", [BOXES, []])
def test_patches_are_read_as_written(tmp_path, boxes):
    _, patches = cut(boxes, left_out=["a reason"])
    write_box_patches(tmp_path / "boxes.zarr", patches)
    read = read_box_patches(tmp_path / "boxes.zarr")
    for name, value in vars(patches).items():
        assert np.array_equal(getattr(read, name), value), name
    assert read.left_out == ("a reason",)
    assert isinstance(read, BoxPatches)
    assert len(read) == (5 if boxes else 0)
