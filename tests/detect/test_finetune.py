import itertools
import logging
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from box_cohort import box_cohort
from toy_bank import toy_grid

from drasclr_core.atlas.subject import Subject
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import Record, read_json, write_json, write_record
from drasclr_core.detect import finetuned as detection_finetuned
from drasclr_core.detect.finetune import FinetuneSettings, finetune
from drasclr_core.detect.finetuned import (
    evaluate_finetuned,
    evaluate_transfer,
    load_detectors,
    part_of,
    trained_folds,
    untrained_like,
)
from drasclr_core.detect.masks import mask_subject, read_probability, summarise_masks
from drasclr_core.detect.windows import BoxGrid, model_values
from drasclr_core.model.encoder import Encoder
from drasclr_core.model.files import ATLAS, LANDMARKS, WEIGHTS
from drasclr_core.model.folder import Model

COMMON = {"run": "r", "seed": 0, "fold_count": 2}
SETTINGS = FinetuneSettings(
    steps=6, batch_size=8, learning_rate=0.03, momentum=0.9, weight_decay=1e-4, shift_vox=2, seed=0
)


def new_model(conditioning="location"):
    architecture = {"feature_dim": 6, "num_experts": 2, "conditioning": conditioning}
    torch.manual_seed(0)
    return Model(Encoder(**architecture).eval(), toy_grid(), {"architecture": architecture})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pooling_model():
    model = new_model()
    model.encoder.features = "pooled"
    return model


def trained(settings=SETTINGS, conditioning="location"):
    model, patches = new_model(conditioning), box_cohort(subjects=8, each=2, folds=2)
    labels = patches.subtypes == "centrilobular"
    classifier = finetune(model.encoder, patches, labels, settings)
    return model, classifier, patches, labels


@pytest.mark.parametrize("conditioning", ["location", "none"])
def test_a_finetuning_learns_what_can_be_seen(conditioning):
    model, classifier, patches, labels = trained(replace(SETTINGS, steps=25), conditioning=conditioning)
    found = model_values(model, patches, BoxGrid.centre(patches), head=classifier)[:, 0, 0]
    assert found[labels].min() > found[~labels].max()
    assert not model.encoder.training


def test_all_layers_are_trained_and_equal_seeds_give_equal_weights():
    first, again, other = (trained(replace(SETTINGS, steps=2, seed=seed)) for seed in (0, 0, 1))
    begin = new_model().encoder.state_dict()
    states = [dict(run[0].encoder.state_dict()) for run in (first, again, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    moved = [name for name, value in states[0].items() if not torch.equal(value, begin[name])]
    weights = [name for name, _ in new_model().encoder.named_parameters() if not name.startswith("head.")]
    assert set(weights) <= set(moved)
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_patches_are_read_with_their_own_shifted_codes(monkeypatch):
    patches = box_cohort(subjects=8, each=2, folds=2)
    encoder, seen = new_model().encoder, []
    kernels = encoder.kernels
    monkeypatch.setattr(encoder, "kernels", lambda locations: seen.append(locations) or kernels(locations))
    # A step of the code along z alone: where a shifted patch was cut can be told from its code.
    steps = np.zeros_like(patches.code_steps)
    steps[:, 0] = (1, 0, 0)
    codes = np.arange(len(patches))[:, None] * np.array([[100.0, 0, 0]])
    patches = replace(patches, codes=codes, code_steps=steps)
    finetune(encoder, patches, patches.subtypes == "centrilobular", SETTINGS)
    first = torch.cat(seen)[:, 0]
    shift = first - 100 * (first / 100).round()
    assert set(shift.tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    number = (first / 100).round().long().view(-1, 8)
    sick = torch.from_numpy(patches.subtypes == "centrilobular")[number]
    assert (sick.sum(dim=1) == 4).all()
    assert torch.bincount(number.flatten(), minlength=16).tolist() == [3] * 16  # 48 places, dealt in rounds


def test_patches_are_mirrored_at_random_along_each_axis(monkeypatch):
    patches = box_cohort(subjects=8, each=2, folds=2)
    encoder, seen = new_model().encoder, []
    convolve = encoder.convolve
    monkeypatch.setattr(encoder, "convolve", lambda x, kernels: seen.append(x) or convolve(x, kernels))
    z, y, x = np.indices(patches.hu.shape[1:])
    ramp = (7 * z + 5 * y + 3 * x - 900).astype(np.int16)  # a view's slope along an axis tells whether it is mirrored
    patches = replace(patches, hu=np.stack([ramp] * len(patches)))
    finetune(encoder, patches, patches.subtypes == "centrilobular", SETTINGS)
    views = torch.cat(seen)[:, 0] * 632
    slopes = torch.stack([views.diff(dim=axis).mean(dim=(1, 2, 3)) for axis in (1, 2, 3)], dim=1)
    signs = (slopes / torch.tensor([7.0, 5.0, 3.0])).round(decimals=3)
    assert len(signs) == 48
    assert {tuple(row) for row in signs.tolist()} == set(itertools.product((-1.0, 1.0), repeat=3))
    assert ((signs < 0).float().mean(dim=0) - 0.5).abs().max() < 0.25


def test_detectors_are_trained_without_their_fold_kept_and_judged(tmp_path):
    model, patches = new_model(), box_cohort(subjects=8, each=2, folds=2)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    settings = replace(SETTINGS, steps=25, seed=5)
    found = evaluate_finetuned(model, patches, settings, tmp_path, stride=3, block=3, **COMMON)
    assert [(r["task"], r["variant"], r["reason"]) for r in found] == [
        ("centrilobular_detection", "finetuned", None),
        ("paraseptal_detection", "finetuned", "no annotated box"),
    ]
    assert found[0]["summary"]["f1"]["mean"] > 0.7
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())

    # The same again by hand: without fold 1, seed 5 + 1.
    train = patches.take(patches.folds != 1)
    encoder = new_model().encoder
    classifier = finetune(encoder, train, train.subtypes == "centrilobular", replace(settings, seed=6))
    detectors = load_detectors(tmp_path, 1, model)
    loaded, head = detectors["centrilobular"]
    for ours, theirs in ((loaded.encoder, encoder), (head, classifier)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert detectors["paraseptal"].startswith("no paraseptal detector without fold 1")
    (tmp_path / "centrilobular" / "fold-1.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"fold-1\.safetensors does not hold a detector"):
        load_detectors(tmp_path, 1, model)


def test_detectors_know_their_model(tmp_path, caplog):
    patches = box_cohort(subjects=8, each=2, folds=2)
    model = replace(
        new_model(), folder=tmp_path / "model", sums={name: name[0] * 64 for name in (WEIGHTS, LANDMARKS, ATLAS)}
    )
    model.description["preprocess"] = {"spacing_mm": 1.0}
    evaluate_finetuned(model, patches, replace(SETTINGS, steps=1), tmp_path, stride=5, block=5, **COMMON)
    place = tmp_path / "centrilobular"
    said = {"sha256": {WEIGHTS: "e" * 64, LANDMARKS: "l" * 64, ATLAS: "l" * 64}, "preprocess": {"spacing_mm": 1.0}}
    assert read_json(place / "detector.json")["model"] == said
    assert trained_folds(place, model) == [0, 1]

    retrained = replace(model, sums={**model.sums, WEIGHTS: "f" * 64})
    with pytest.raises(
        InputError, match=r"from another model than .*: encoder\.safetensors was eeee.*, here it is ffff"
    ):
        trained_folds(place, retrained)
    finer = replace(model, description={**model.description, "preprocess": {"spacing_mm": 0.5}})
    with pytest.raises(InputError, match=r"preprocess was \{'spacing_mm': 1.0\}, here it is \{'spacing_mm': 0.5\}"):
        load_detectors(tmp_path, 0, finer)

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    write_json(place / "detector.json", {"trained_folds": [1]})  # as earlier versions
    assert trained_folds(place, retrained) == [1]
    assert "not checked whether its detectors were trained from this model" in caplog.text
    (place / "detector.json").write_text("{")
    with pytest.raises(InputError, match=r"detector\.json is damaged"):
        trained_folds(place, model)


def test_detectors_read_the_features_that_they_were_trained_on(tmp_path):
    patches, model = box_cohort(subjects=8, each=2, folds=2), pooling_model()
    settings = replace(SETTINGS, steps=2)
    evaluate_finetuned(model, patches, settings, tmp_path / "detector", stride=5, block=5, **COMMON)
    place = tmp_path / "detector/centrilobular"
    assert read_json(place / "detector.json")["features"] == "pooled"

    train = patches.take(patches.folds != 1)
    encoder = pooling_model().encoder
    classifier = finetune(encoder, train, train.subtypes == "centrilobular", replace(settings, seed=1))
    assert classifier.linear.weight.shape == (1, 6 + 944)
    assert classifier.linear.weight[0, 6:].abs().min() > 0
    plain = new_model()
    loaded, head = load_detectors(tmp_path / "detector", 1, plain)["centrilobular"]  # whatever the model's are
    x = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        expected = classifier(encoder(x, torch.zeros(3)))
        assert torch.equal(head(loaded.encoder(x, torch.zeros(3))), expected)
    assert plain.encoder.features == "last"

    content = read_json(place / "detector.json")
    for told, message in (({"features": "best"}, r"detector\.json is damaged \(.*'best'"), ({}, "does not hold a")):
        write_json(place / "detector.json", {k: v for k, v in content.items() if k != "features"} | told)
        with pytest.raises(InputError, match=message):  # without the key, as earlier versions, they read h alone
            load_detectors(tmp_path / "detector", 1, plain)


def test_detectors_of_earlier_versions_read_the_last_layer(tmp_path):
    patches, model = box_cohort(subjects=8, each=2, folds=2), new_model()
    evaluate_finetuned(model, patches, replace(SETTINGS, steps=1), tmp_path, stride=5, block=5, **COMMON)
    path = tmp_path / "centrilobular/detector.json"
    content = read_json(path)
    assert content.pop("features") == "last"
    write_json(path, content)
    loaded, head = load_detectors(tmp_path, 1, pooling_model())["centrilobular"]
    assert (loaded.encoder.features, head.linear.in_features) == ("last", 6)


def test_a_part_of_the_annotations_is_a_share_of_either_kind_and_grows():
    labels = np.arange(50) < 20
    train = np.arange(50) % 5 != 0
    parts = [part_of(labels, train, fraction, seed=3) for fraction in (0.1, 0.5, 1.0)]
    assert [(int((p & labels).sum()), int((p & ~labels).sum())) for p in parts] == [(2, 3), (8, 12), (16, 24)]
    assert (parts[0] <= parts[1]).all()
    assert (parts[2] == train).all()


def test_transfer_is_judged_from_trained_weights_and_from_scratch_and_goes_on_when_broken_off(tmp_path, monkeypatch):
    patches = box_cohort(subjects=8, each=2, folds=2)
    again = {**COMMON, "stride": 5, "block": 5, "work": tmp_path}
    curves = evaluate_transfer(new_model(), patches, SETTINGS, [1.0, 0.5], **again)
    assert [curve["subtype"] for curve in curves] == ["centrilobular", "paraseptal"]
    points = curves[0]["points"]
    wanted = [(start, fraction) for start in ("pretrained", "scratch") for fraction in (0.5, 1.0)]
    assert [(p["start"], p["fraction"]) for p in points] == wanted
    assert [p["folds"][0]["n_used"] for p in points] == [4, 8, 4, 8]
    assert curves[1]["reason"] == "no annotated box"
    assert curves[0]["features"] == "last"

    (tmp_path / "centrilobular-scratch-1.json").unlink()
    starts = []
    make = detection_finetuned.finetuned_detector
    monkeypatch.setattr(detection_finetuned, "finetuned_detector", lambda *args: starts.append(args[0]) or make(*args))
    assert evaluate_transfer(new_model(), patches, SETTINGS, [1.0, 0.5], **again) == curves
    assert len(starts) == 1  # all others were there
    scratch = [untrained_like(new_model(), seed).encoder.convs[0].weight for seed in (0, 0, 1)]
    assert torch.equal(scratch[0], scratch[1])
    assert not torch.equal(scratch[0], scratch[2])
    assert untrained_like(pooling_model(), 0).encoder.features == "pooled"


def test_a_mask_is_written_and_judged_by_the_truth(tmp_path):
    model, patches = new_model(), box_cohort(subjects=8, each=2, folds=2)
    both = replace(patches, subtypes=np.where(np.arange(16) % 4 == 0, "paraseptal", patches.subtypes))
    evaluate_finetuned(model, both, replace(SETTINGS, steps=1), tmp_path / "detector", stride=5, block=5, **COMMON)
    rng = np.random.default_rng(0)
    shape = (20, 18, 16)
    mask, truth = (rng.integers(0, high, shape).astype(np.uint8) for high in (2, 3))
    volumes = {"ct": rng.integers(-1000, 0, shape).astype(np.int16), "lungs": mask, "truth": truth}
    images = {name: sitk.GetImageFromArray(volume) for name, volume in volumes.items()}
    sitk.WriteImage(images["truth"], str(tmp_path / "truth.nii.gz"))
    subject = Subject("a")
    subject.__dict__.update(ct=images["ct"], lungs=images["lungs"], transform=sitk.AffineTransform(3))
    folder = tmp_path / "a"
    folder.mkdir()
    detectors, steps = load_detectors(tmp_path / "detector", 1, model), {"stride": 4, "block": 4}
    metrics = {"fold": 1, **mask_subject(subject, detectors, folder, truth=tmp_path / "truth.nii.gz", **steps)}
    probability = sitk.GetArrayFromImage(read_probability(folder, "paraseptal"))
    assert (probability[mask == 0] == 0).all()
    assert metrics["paraseptal"]["features"] == "last"
    assert metrics["paraseptal"]["fraction"] == (probability[mask > 0] >= 0.5).mean()
    assert metrics["paraseptal"]["true_fraction"] == (truth[mask > 0] == 2).mean()

    (tmp_path / "c").mkdir()
    lacking = {**detectors, "centrilobular": "no detector"}  # the other subtype goes on without it
    alone = {"fold": 1, **mask_subject(subject, lacking, tmp_path / "c", truth=tmp_path / "truth.nii.gz", **steps)}
    assert alone == metrics | {"centrilobular": {"reason": "no detector"}}
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["paraseptal.nii.gz"]

    write_record(tmp_path / "c", Record("c", "dense", "ok", metrics=alone))
    write_record(folder, Record("a", "dense", "ok", metrics=metrics))
    (tmp_path / "b").mkdir()
    write_record(tmp_path / "b", Record("b", "dense", "excluded", reason="no lungs"))
    everybody = {"a", "b", "c"}
    summary = summarise_masks([tmp_path / "c", folder, tmp_path / "b"], {"a": 2.0}, everybody)
    assert summary["notes"] == ["centrilobular: 1 of 2 subjects without a mask: no detector."]
    assert summary["pooled"]["centrilobular"]["n_auroc"] == 1
    assert summary["subjects"].pop(0)["centrilobular"] == {"reason": "no detector"}
    assert summary["excluded"] == ["b"]
    assert summary["subjects"][0]["gold"] == 2.0
    drawn = [tmp_path / "b", folder, tmp_path / "c"]  # the third is a spare for the first
    assert summarise_masks(drawn, {"a": 2.0}, everybody, 1) == summarise_masks(drawn[:2], {"a": 2.0}, everybody)
    without = summarise_masks(drawn, {"a": 2.0}, {"b", "c"})  # a's patches lie outside the scan
    assert without["excluded"] == ["b", "a"]
    assert [subject["participant_id"] for subject in without["subjects"]] == ["c"]
    assert without["pooled"]["centrilobular"] is None
    assert "counts" not in summary["subjects"][0]["paraseptal"]
    assert summary["pooled"]["paraseptal"]["auroc"] == metrics["paraseptal"]["auroc"]
