"""Figures show the numbers that they were given, and say how many subjects they are of."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from matplotlib.colors import to_hex

from drasclr_core.base.files import Record, write_record
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.evaluate.concordance import Outcome
from drasclr_core.evaluate.survival_groups import calibration, risk_groups
from drasclr_core.figures.detection import draw_fractions, draw_transfer, emphysema_fractions, transfer_points
from drasclr_core.figures.drawing import make_figure
from drasclr_core.figures.masks import ORANGE, TRUE, overlay, seen_from_front
from drasclr_core.figures.masks import draw as draw_masks_figure
from drasclr_core.figures.survival import draw_survival, survival_data


def spec(kind, **keys):
    return FigureSpec(title="Toy", cohort="copd", figure=kind, run="drasclr", notes=("Said.",), **keys)


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def drawn(folder, kind, paths, trainings=1, **keys):
    """Return the CSV and the words of a figure that was written."""
    settings = {"seed": 0, "readout": "plain", "trainings": trainings}
    make_figure(spec(kind, **keys), paths, settings, folder / "f.png", folder / "f.csv")
    assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")
    return pd.read_csv(folder / "f.csv"), json.loads((folder / "f.json").read_text(encoding="utf-8"))


# Survival


def survival():
    rng = np.random.default_rng(0)
    risk = rng.normal(size=60)
    dies, leaves = rng.exponential(1000 * np.exp(-risk)), rng.uniform(100, 2000, 60)
    outcome = Outcome(np.minimum(dies, leaves), dies <= leaves)
    groups = calibration(np.exp(-0.5 * np.exp(risk)), outcome, 500.0)
    return {
        "n": 60,
        "deaths": int(outcome.died.sum()),
        "reason": None,
        "risk_groups": risk_groups(risk, outcome),
        "calibration": {"horizon_days": 500.0, "groups": groups},
    }


def test_the_survival_curves_are_the_evaluations(tmp_path):
    found = survival()
    paths = {"survival": write(tmp_path / "survival.json", found)}
    data, words = drawn(tmp_path, "survival", paths, variant="imaging")
    for group in found["risk_groups"]["groups"]:
        rows = data[(data["panel"] == "kaplan_meier") & (data["group"] == group["group"])]
        np.testing.assert_allclose(rows["observed"], group["survival"], rtol=1e-5)
        np.testing.assert_allclose(rows["time_days"], group["time_days"], rtol=1e-5)
    points = data[data["panel"] == "calibration"]
    np.testing.assert_allclose(points["predicted"], [g["predicted"] for g in found["calibration"]["groups"]], rtol=1e-5)
    assert words["notes"][0].startswith(f"n = 60 subjects, {found['deaths']} deaths")
    assert words["notes"][-1] == "Said."
    assert words["drawn"]


@pytest.mark.parametrize(("people", "said"), [(30, "p "), (29, "p is not given of fewer than 30")])
def test_the_log_rank_test_has_a_p_from_30_people_on(tmp_path, people, said):
    found = survival()
    for group in found["risk_groups"]["groups"]:
        group["n"] = 10
    found["risk_groups"]["groups"][0]["n"] = people - 20
    _, words = drawn(tmp_path, "survival", {"survival": write(tmp_path / "s.json", found)}, variant="imaging")
    assert f"Log-rank test: {said}" in words["notes"][0]
    assert ("<" in words["notes"][0] or "p =" in words["notes"][0]) == (people >= 30)


def test_a_figure_of_one_training_of_several_says_so(tmp_path):
    paths = {"survival": write(tmp_path / "survival.json", survival())}
    alone, first = (drawn(tmp_path, "survival", paths, count, variant="imaging")[1]["notes"] for count in (1, 3))
    assert first == [*alone[:-1], "Of 3 trainings of drasclr, with other seeds, the first.", "Said."]


def test_survival_begins_at_one_and_steps_at_deaths():
    found = survival()
    figure = draw_survival(found["risk_groups"], found["calibration"])
    for line, group in zip(figure.axes[0].lines, found["risk_groups"]["groups"], strict=True):
        assert line.get_drawstyle() == "steps-post"
        assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, 1)
        assert line.get_xdata()[-1] == pytest.approx(group["time_days"][-1] / 365.25)


def test_an_unknown_observed_survival_is_no_point():
    found = survival()
    found["calibration"]["groups"][0] |= {"observed": None, "low": None, "high": None}
    figure = draw_survival(found["risk_groups"], found["calibration"])
    assert sum(line.get_marker() == "o" for line in figure.axes[1].lines) == 4
    assert survival_data(found["risk_groups"], found["calibration"])["observed"].isna().sum() == 1


def test_a_survival_that_was_not_evaluated_is_no_figure_but_its_reason(tmp_path):
    found = {"reason": "nobody died", "n": 6, "risk_groups": None, "calibration": None}
    paths = {"survival": write(tmp_path / "survival.json", found)}
    data, words = drawn(tmp_path, "survival", paths, variant="imaging")
    assert data.empty
    assert not words["drawn"]
    assert "nobody died" in words["notes"][0]


# Figures 4 and 5


def masks():
    rows = [("a", -1, 0.1), ("b", 0, 0.2), ("c", 4, 0.6), ("d", 4, 0.8), ("e", None, 0.9)]
    subjects = [
        {"participant_id": name, "gold": gold, "centrilobular": {"fraction": x}, "paraseptal": {"fraction": x / 2}}
        for name, gold, x in rows
    ]
    pooled = {"auroc": 0.9123, "mean_dice": 0.5, "n_dice": 4, "mean_auroc": 0.9, "n_auroc": 4}
    both = {"centrilobular": pooled, "paraseptal": None}
    return {"notes": [], "subjects": subjects, "excluded": [], "pooled": both}


def without_paraseptal(found, *names):
    """Return the summary of masks without those of one subtype of some subjects."""
    for subject in found["subjects"]:
        if subject["participant_id"] in names:
            subject["paraseptal"] = {"reason": "no detector"}
    return found | {"notes": [f"paraseptal: {len(names)} of 5 subjects without a mask: no detector."]}


def test_fractions_are_the_masks_of_those_with_a_stage(tmp_path):
    pooled = {"no-image": {"centrilobular": {"auroc": 0.7114}, "paraseptal": None}}
    pooled["histogram"] = {"centrilobular": {"auroc": 0.8067}, "paraseptal": {"auroc": None}}
    linear = [write(tmp_path / f"{run}.json", {"run": run, "pooled": found}) for run, found in pooled.items()]
    data, words = drawn(
        tmp_path, "emphysema_fraction", {"masks": write(tmp_path / "masks.json", masks()), "linear": linear}
    )
    rows = data[data["subtype"] == "paraseptal"]
    assert rows[["participant_id", "gold", "fraction"]].to_numpy().tolist() == [
        ["a", -1, 0.05],
        ["b", 0, 0.1],
        ["c", 4, 0.3],
        ["d", 4, 0.4],
    ]
    assert words["notes"][0].startswith("n = 4 subjects")
    assert "centrilobular, against the phantoms' true masks: AUROC over all lung voxels 0.912" in words["notes"][1]
    assert "learnt nothing before: no-image 0.711, histogram 0.807 (no-image" in words["notes"][2]
    assert not any(note.startswith("paraseptal") for note in words["notes"])  # of which nothing is known


def test_subjects_without_a_mask_of_a_subtype_are_drawn_by_the_other_and_counted(tmp_path):
    path = write(tmp_path / "masks.json", without_paraseptal(masks(), "b", "c"))
    data, words = drawn(tmp_path, "emphysema_fraction", {"masks": path, "linear": []})
    assert data.groupby("subtype")["participant_id"].agg("".join).to_dict() == {
        "centrilobular": "abcd",
        "paraseptal": "ad",
    }
    assert words["notes"][1] == "paraseptal: 2 of 5 subjects without a mask: no detector."


def test_stages_stand_in_their_order_with_prism_and_n_on_one_axis():
    found = emphysema_fractions(masks())
    centrilobular, paraseptal = draw_fractions(found).axes
    labels = [label.get_text() for label in centrilobular.get_xticklabels()]
    assert labels == ["PRISm\nn=1", "0\nn=1", "1\nn=0", "2\nn=0", "3\nn=0", "4\nn=2"]
    medians = [line.get_ydata()[0] for line in paraseptal.lines if line.get_color() == "black"]
    assert medians == pytest.approx([5, 10, 35])
    assert centrilobular.get_ylim() == paraseptal.get_ylim()
    assert paraseptal.get_ylim()[0] == 0
    assert paraseptal.get_ylim()[1] > 80  # the most, of the other subtype
    lowest = draw_fractions(found[(found["subtype"] == "paraseptal") | (found["gold"] == -1)]).axes[0]
    assert lowest.get_ylim()[1] > 40  # of the subtype that is drawn last


@pytest.mark.parametrize(("count", "boxes"), [(10, 0), (11, 1)])
def test_few_subjects_are_points_and_more_are_a_box(count, boxes):
    rows = [(f"s{number}", 2, "centrilobular", number / 100) for number in range(count)]
    axes = draw_fractions(pd.DataFrame(rows, columns=["participant_id", "gold", "subtype", "fraction"])).axes[0]
    assert len(axes.patches) == boxes
    shown = [value for line in axes.lines if line.get_marker() == "o" for value in line.get_ydata()]
    assert sorted(shown) == ([] if boxes else pytest.approx(list(range(count))))


def transfer(subtype, gain):
    points = [
        {"start": start, "fraction": fraction, "summary": {"f1": {"mean": base + fraction / 10, "sd": 0.02}}}
        for start, base in (("pretrained", 0.5 + gain), ("scratch", 0.5))
        for fraction in (1.0, 0.1)
    ]
    return {"subtype": subtype, "n": 12, "fold_count": 5, "reason": None, "points": points}


def test_points_are_those_of_the_transfer(tmp_path):
    curves = [transfer("centrilobular", 0.2), transfer("paraseptal", 0.3)]
    paths = {"transfer": [write(tmp_path / f"{curve['subtype']}.json", curve) for curve in curves]}
    data, words = drawn(tmp_path, "annotation_efficiency", paths)
    found = data.set_index(["subtype", "start", "fraction"])["f1"]
    assert len(found) == 8
    assert found["paraseptal", "pretrained", 0.1] == pytest.approx(0.81)
    assert found["centrilobular", "scratch", 1.0] == pytest.approx(0.6)
    assert "n patches: centrilobular 12, paraseptal 12" in words["notes"][0]


def test_the_dashed_line_is_from_scratch_with_everything():
    axes = draw_transfer(transfer_points([transfer("centrilobular", 0.2), transfer("paraseptal", 0.3)])).axes[0]
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == pytest.approx([0.6])


def test_a_transfer_that_was_not_evaluated_is_no_figure_but_its_reason(tmp_path):
    curves = [transfer(name, 0) | {"reason": f"too few {name} boxes"} for name in ("centrilobular", "paraseptal")]
    for point in [point for curve in curves for point in curve["points"]]:
        point["summary"]["f1"] = {"mean": None, "sd": None}
    paths = {"transfer": [write(tmp_path / f"{curve['subtype']}.json", curve) for curve in curves]}
    data, words = drawn(tmp_path, "annotation_efficiency", paths)
    assert data.empty
    assert "paraseptal: too few paraseptal boxes." in words["notes"][0]


@pytest.mark.parametrize("kind", ["emphysema_fraction", "dense_masks"])
def test_without_masks_there_is_no_figure_but_its_reason(tmp_path, kind):
    nobody = {"notes": [], "subjects": [], "excluded": ["a"], "pooled": {"centrilobular": None, "paraseptal": None}}
    paths = {"masks": write(tmp_path / "masks.json", nobody), "dense": [], "ingest": [], "segment": []}
    data, words = drawn(tmp_path, kind, paths)
    assert data.empty
    assert words["notes"][0].startswith("n = 0")


# Figure 3


def test_the_slice_is_grey_by_a_lung_window_and_orange_where_positive():
    ct_hu = np.array([[-1000, -400, -850, -850]])
    black, white, lung, emphysema = overlay(ct_hu, np.array([[False, False, False, True]]))[0]
    assert black.tolist() == [0, 0, 0]
    assert white.tolist() == [1, 1, 1]
    np.testing.assert_allclose(lung, 0.25)
    np.testing.assert_allclose(emphysema, 0.125 + 0.5 * ORANGE)


def test_the_lungs_are_seen_blue_with_what_they_hold_in_orange():
    lungs = np.zeros((20, 30, 40), bool)
    lungs[2:18, 5:25, 4:36] = True
    positive = np.zeros_like(lungs)
    positive[12:16, 10:20, 10:30] = True
    picture = seen_from_front(lungs, positive)
    assert picture.min() >= 0
    assert picture.max() <= 1
    red = picture[..., 0] > picture[..., 2] + 0.1
    blue = picture[..., 2] > picture[..., 0] + 0.1
    assert np.flatnonzero(red.any(axis=1)).tolist() == [10, 11, 12, 13]  # the height of what is positive
    assert blue[2].any()


def subject_folders(folder, found):
    """Write the stages of the subjects a to d; return the paths of the figure of their masks."""
    lungs = np.zeros((8, 9, 10), np.uint8)
    lungs[1:7, 2:8, 1:9] = 1
    lungs[1:7, 2:5, 1:4] = 0  # front and back, right and left differ
    stored = np.where(lungs, np.arange(10, dtype=np.uint8) * 20, 0).astype(np.uint8)
    folders = {"dense": [], "ingest": [], "segment": []}
    for subject in found["subjects"][:4]:
        name = subject["participant_id"]
        files = {"ingest": {"ct": lungs.astype(np.int16) * 100 - 1000}, "segment": {"lungs": lungs}}
        metrics = {subtype: subject[subtype] for subtype in ("centrilobular", "paraseptal")}
        values = {"centrilobular": stored, "paraseptal": stored * 0}
        files["dense"] = {subtype: values[subtype] for subtype in values if "fraction" in metrics[subtype]}
        for stage, volumes in files.items():
            place = folder / stage / name
            place.mkdir(parents=True)
            folders[stage].append(str(place))
            for file, volume in volumes.items():
                sitk.WriteImage(sitk.GetImageFromArray(volume), str(place / f"{file}.nii.gz"))
        write_record(place, Record(name, "dense", "ok", metrics=metrics))
    return {"masks": write(folder / "masks.json", found), **folders}


def test_the_patients_right_is_on_the_left_and_the_front_in_front():
    lungs = np.zeros((20, 40, 40), bool)
    lungs[2:18, 5:35, 4:36] = True
    ripples, right = lungs.copy(), np.zeros_like(lungs)
    ripples[2:18:4, 30:35, 14:26] = False  # of the back: not seen
    right[4:16, 15:25, 6:12] = True
    np.testing.assert_array_equal(seen_from_front(ripples, right & False), seen_from_front(lungs, right & False))
    picture = seen_from_front(lungs, right)
    red = np.flatnonzero((picture[..., 0] > picture[..., 2] + 0.1).any(axis=0))
    assert red.max() < picture.shape[1] / 2


def test_the_figure_is_the_same_whatever_axes_the_volumes_have(tmp_path):
    pictures = []
    for axes in ("LPS", "LAS"):
        paths = subject_folders(tmp_path / axes, masks())
        for path in (tmp_path / axes).rglob("*.nii.gz"):
            sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), axes), str(path))
        drawing = draw_masks_figure(spec("dense_masks"), paths, {"seed": 0})
        pictures.append([image.get_array() for each in drawing.figure.axes for image in each.images])
    assert len(pictures[0]) == 12  # three of two subtypes of two subjects
    for lps, las in zip(*pictures, strict=True):
        np.testing.assert_array_equal(lps, las)


def test_the_truth_of_phantoms_is_outlined_where_it_is(tmp_path):
    paths = subject_folders(tmp_path, masks())
    truth = np.zeros((8, 9, 10), np.uint8)
    truth[2:5, :, 6:9] = 1  # centrilobular
    for path in paths["ingest"]:
        folder = tmp_path / "phantom" / path.rpartition("/")[2]
        folder.mkdir(parents=True)
        sitk.WriteImage(sitk.GetImageFromArray(truth), str(folder / "truth.nii.gz"))
        paths.setdefault("phantom", []).append(str(folder))
    drawing = draw_masks_figure(spec("dense_masks"), paths, {"seed": 0})
    outlined = [axes for axes in drawing.figure.axes if axes.collections]
    assert len(outlined) == 2  # the centrilobular masks of two subjects
    (contour,) = outlined[0].collections
    assert to_hex(contour.get_edgecolor()[0]) == TRUE.lower()
    places = np.concatenate([path.vertices for path in contour.get_paths()])
    np.testing.assert_allclose([places.min(axis=0), places.max(axis=0)], [[5.5, 1.5], [8.5, 4.5]])
    assert "phantom's true disease" in drawing.notes[0]


def test_masks_have_sides_scale_and_n(tmp_path):
    found = masks()
    nobody = {"reason": "no detector"}
    found["subjects"].append({"participant_id": "f", "gold": 4, "centrilobular": nobody, "paraseptal": nobody})
    figure = draw_masks_figure(spec("dense_masks"), subject_folders(tmp_path, found), {"seed": 0}).figure
    assert [axes.get_title() for axes in figure.axes[:2]] == ["GOLD 0\n1 of 1", "GOLD 4\n1 of 2"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == ["5 cm", "L", "R"]
    assert [np.ptp(line.get_xdata()) for line in figure.axes[0].lines] == [50]  # voxels of 1 mm
    assert min(text.get_fontsize() for axes in figure.axes for text in axes.texts) >= 9


def test_masks_of_all_stages_are_drawn(tmp_path):
    data, words = drawn(tmp_path, "dense_masks", subject_folders(tmp_path, masks()))
    found = data.set_index(["gold", "subtype"])["fraction"]
    assert found[0, "centrilobular"] == pytest.approx(72 / 234)  # columns 7 and 8 of 1 to 8 hold 128 or more
    assert found[4, "paraseptal"] == 0
    assert set(data["gold"]) == {0, 4}  # PRISm is no stage
    assert words["notes"][0].startswith("n = 2 subjects")


def test_who_has_masks_of_both_subtypes_is_shown_before_who_has_not(tmp_path):
    paths = subject_folders(tmp_path, without_paraseptal(masks(), "b", "c"))
    data, words = drawn(tmp_path, "dense_masks", paths)
    assert data[["gold", "participant_id", "subtype"]].to_numpy().tolist() == [
        [0, "b", "centrilobular"],  # there is no other
        [4, "d", "centrilobular"],
        [4, "d", "paraseptal"],
    ]
    assert words["notes"][1].startswith("paraseptal: 2 of 5")
