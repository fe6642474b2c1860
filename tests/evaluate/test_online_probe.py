import copy
import csv
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toy_bank import SETTINGS as TOY
from toy_bank import toy_bank

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.folds import assign_folds
from drasclr_core.evaluate.disease_probe import probe_disease
from drasclr_core.evaluate.disease_rows import LandmarkFeatures, Training
from drasclr_core.evaluate.online_probe import OnlineProbe, TruthProbe, online_probe
from drasclr_core.evaluate.truth import PatchDisease
from drasclr_core.model.encoder import normalise_hu
from drasclr_core.phantom.labels import DISEASES
from drasclr_core.train.loop import initial_encoder, pretrain

SETTINGS = replace(TOY, epochs=1, probe_steps=4, probe_landmarks=2)
FEV1PP = [95.0, 80, 61, 103, 47, 72, 88, 35]
FOLDS = {f"s{i}": i % 2 for i in range(8)}
PARTICIPANTS = pd.DataFrame({"participant_id": list(FOLDS), "fev1pp": FEV1PP})


def changed(**changes):
    return replace(SETTINGS, **changes)


def probe(bank=None, settings=SETTINGS, participants=PARTICIPANTS, features="last"):
    return OnlineProbe(bank or toy_bank(), settings, FOLDS, "plain", 0, features, participants)


def encoder():
    found = initial_encoder(SETTINGS).train()
    with torch.no_grad():
        for norm in found.norms:  # statistics unlike those of any batch
            norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    return found


def means(bank, encoder, landmarks):
    """Return each subject's mean feature, patch by patch."""
    encoder, rows = copy.deepcopy(encoder).eval(), []
    for subject in range(len(bank.participant_ids)):
        inside = [landmark for landmark in landmarks if bank.valid[landmark, subject]]
        patches = [normalise_hu(torch.from_numpy(bank.row(landmark)[subject]))[None, None] for landmark in inside]
        codes = torch.tensor(bank.grid.codes[inside], dtype=torch.float32)
        with torch.no_grad():
            rows.append(torch.cat([encoder(*pair) for pair in zip(patches, codes, strict=True)]).mean(0).numpy())
    return np.array(rows)


def r2_by_least_squares(features, labels):
    scores = []
    for fold in (0, 1):
        test = np.arange(8) % 2 == fold
        centre, scale = features[~test].mean(0), features[~test].std(0)
        z = (features - centre) / scale
        mean = labels[~test].mean()
        predicted = z[test] @ (np.linalg.pinv(z[~test]) @ (labels[~test] - mean)) + mean
        truth = labels[test]
        scores.append(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
    return np.mean(scores)


def test_the_score_is_that_of_the_readout_of_mean_features():
    valid = np.ones((4, 8), bool)
    valid[3, 5] = False
    bank = toy_bank(valid=valid)
    _, features = probe(bank).subject_means(encoder())
    np.testing.assert_allclose(features, means(bank, encoder(), [0, 3]), rtol=1e-4, atol=1e-5)
    expected = r2_by_least_squares(features.astype(np.float64), np.log(FEV1PP))
    assert probe(bank)(encoder()) == pytest.approx(expected, rel=1e-6)


def test_pooled_features_are_read_without_a_change_to_the_encoder():
    ours, pooled = encoder(), encoder()
    pooled.features = "pooled"
    _, found = probe(features="pooled").subject_means(ours)
    np.testing.assert_allclose(found, means(toy_bank(), pooled, [0, 3]), rtol=1e-4, atol=1e-5)
    assert ours.features == "last"


def test_the_encoder_keeps_its_mode_precision_and_statistics():
    ours, untouched = encoder().double(), encoder().double()
    np.testing.assert_allclose(probe().subject_means(ours)[1], probe().subject_means(encoder())[1])
    assert ours.training
    assert same(ours, untouched)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_subjects_without_a_valid_landmark_are_left_out():
    valid = np.ones((4, 8), bool)
    valid[[0, 3], 5] = False
    used, features = probe(toy_bank(valid=valid)).subject_means(encoder())
    assert used.tolist() == [True] * 5 + [False] + [True] * 2
    assert features.shape == (7, 8)


@pytest.mark.parametrize("asked", [1, 3, 4, 100])
def test_there_are_as_many_landmarks_as_asked_for_or_all(asked):
    read = []
    bank = toy_bank()
    object.__setattr__(bank, "row", lambda landmark: read.append(landmark) or bank.hu[landmark])
    probe(bank, changed(probe_landmarks=asked)).subject_means(encoder())
    assert len(set(read)) == len(read) == min(asked, 4)
    assert read == sorted(read)


def test_a_probe_changes_no_training(tmp_path):
    found, _ = pretrain(toy_bank(), SETTINGS, tmp_path / "with", probe=probe())
    expected, _ = pretrain(toy_bank(), SETTINGS, tmp_path / "without")
    assert same(found, expected)
    names = ["step", "loss_local", "alignment"]
    assert metrics(tmp_path / "with", names) == metrics(tmp_path / "without", names)
    scored = [(row[0], bool(row[1])) for row in metrics(tmp_path / "with", ["step", "probe_score"])]
    assert scored == [("3", False), ("6", True), ("8", True)]  # after steps 4 and 8
    assert not any(score for (score,) in metrics(tmp_path / "without", ["probe_score"]))


def metrics(work, names):
    with (work / "metrics.csv").open() as file:
        return [[row[name] for name in names] for row in csv.DictReader(file)]


def test_a_score_survives_an_interruption(tmp_path):
    short = changed(time_limit_minutes=1, margin_minutes=0.5)
    for _ in range(7):
        assert pretrain(toy_bank(), short, tmp_path / "broken", probe=probe(), started=time.monotonic() - 60) is None
    assert pretrain(toy_bank(), short, tmp_path / "broken", probe=probe(), started=time.monotonic() - 60)
    pretrain(toy_bank(), SETTINGS, tmp_path / "whole", probe=probe())
    names = ["step", "probe_score"]
    assert metrics(tmp_path / "broken", names) == metrics(tmp_path / "whole", names)


def test_an_encoder_that_diverged_has_no_score(caplog):
    diverged = encoder()
    with torch.no_grad():
        diverged.convs[0].bias.fill_(torch.nan)
    assert probe()(diverged) is None
    assert "not finite" in caplog.text


def test_without_labels_there_is_no_score_and_a_reason(caplog):
    assert probe(participants=PARTICIPANTS[["participant_id"]])(encoder()) is None
    assert "no column fev1pp" in caplog.text


def test_the_table_must_be_there_and_hold_every_subject(tmp_path):
    table = tmp_path / "participants.tsv"
    source = {"participants": table, "folds": 2, "readout": "plain", "seed": 3, "features": "pooled"}
    with pytest.raises(InputError, match=r"probe_steps needs .*participants.tsv"):
        online_probe(toy_bank(), SETTINGS, **source)
    lines = ["participant_id\timage\tfev1pp", *(f"s{i}\ts{i}.nii\t{value}" for i, value in enumerate(FEV1PP))]
    table.write_text("\n".join(lines[:-1]) + "\n\n")
    with pytest.raises(InputError, match="lacks s7, of 1 subjects"):
        online_probe(toy_bank(), SETTINGS, **source)
    table.write_text("\n".join(lines) + "\n\n")
    probe = online_probe(toy_bank(), SETTINGS, **source)
    assert np.isfinite(probe(encoder()))
    assert probe.subject_means(encoder())[1].shape == (8, 8 + 944)
    # Those of the tables, whatever the seed of the training.
    assert probe.folds == assign_folds([f"s{i}" for i in range(len(FEV1PP))], 2, seed=3)
    assert probe.folds != assign_folds([f"s{i}" for i in range(len(FEV1PP))], 2, seed=SETTINGS.seed)


def test_scans_of_a_person_share_a_fold(tmp_path):
    table = tmp_path / "participants.tsv"
    rows = [f"s{i}\ts{i}.nii\t{value}\t{'one' if i in (1, 4, 6) else ''}" for i, value in enumerate(FEV1PP)]
    table.write_text("\n".join(["participant_id\timage\tfev1pp\tperson", *rows]) + "\n\n")
    source = {"participants": table, "folds": 3, "readout": "plain", "seed": 0, "features": "last"}
    found = online_probe(toy_bank(), SETTINGS, **source).folds
    assert found["s1"] == found["s4"] == found["s6"]


# The true disease of phantoms


def disease(subject):
    """Return a subject's patches, of which those of landmark 3 have too little lung."""
    lung = np.array([1000, 4000, 8000, 100])
    return PatchDisease(20000, np.ones(4, bool), lung, {name: lung * subject // 10 for name in DISEASES})


def test_the_true_disease_is_read_as_by_the_disease_probe():
    bank, settings = toy_bank(), changed(probe_task="true_emphysema", probe_landmarks=4)
    truth, found = [disease(subject) for subject in range(8)], encoder()
    score = TruthProbe(bank, settings, FOLDS, "penalised", 0, "last", truth)(found)
    frozen, codes = copy.deepcopy(found).eval(), torch.tensor(bank.grid.codes).float()
    with torch.no_grad():
        rows = [frozen.at(codes[k])(normalise_hu(torch.from_numpy(bank.row(k)))[:, None]) for k in range(4)]
    content = LandmarkFeatures(tuple(bank.participant_ids), torch.stack(rows, dim=1).numpy())
    trainings = [Training(name, name, name, 0, "last", content) for name in ("untrained", "this")]
    whole = probe_disease(
        trainings,
        {},
        dict(zip(bank.participant_ids, truth, strict=True)),
        FOLDS,
        reference="untrained",
        readout="penalised",
        seed=0,
    )
    assert score == pytest.approx(whole["targets"]["emphysema"]["r2"]["this"]["estimate"], abs=1e-6)


def test_without_the_phantoms_the_true_disease_cannot_be_probed(tmp_path):
    table = tmp_path / "participants.tsv"
    table.write_text("\n".join(["participant_id\timage", *(f"s{i}\ts{i}.nii" for i in range(8))]) + "\n\n")
    source = {"participants": table, "folds": 2, "readout": "plain", "seed": 3, "features": "pooled"}
    settings = changed(probe_task="true_emphysema")
    with pytest.raises(InputError, match="true_emphysema needs phantoms and their true disease"):
        online_probe(toy_bank(), settings, **source)
    with pytest.raises(InputError, match="needs phantoms and .*phantom/s0: keep phantom, ingest and patches"):
        online_probe(toy_bank(), settings, **source, truth={"phantom": tmp_path / "phantom"})
