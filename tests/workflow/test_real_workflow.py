"""The workflow on the real chest CTs: from a NIfTI file, a DICOM folder and an NRRD file to features."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import zarr
from real_cts import FOLDER
from workflow_run import DEFAULT, SMALL_TRAINING, changed, snakemake, succeeded

from drasclr_core import load_model
from drasclr_core.base.files import read_record

SCANS = {  # participant -> file, lung volume in litres as its source states
    "LIDC-IDRI-0001": ("LIDC-IDRI-0001_ct.nii.gz", 3.7),
    "Lung_Dx-A0002": ("Lung_Dx-A0002_dicom", 2.7),
    "ct-64": ("ct-64_ct.nrrd", 4.6),
}
CONFIG = {
    **changed(
        DEFAULT,
        {
            "cohorts": {"real": {"participants": "participants.tsv"}},
            "roles": {"copd": "real"},
            "atlases": {"lidc": {"cohort": "real", "participant": "LIDC-IDRI-0001"}},
            "preprocess.max_excluded_fraction": 0,
            "registration.min_dice": 0.7,  # lungs of three people, one of them with emphysema, differ by more than size
            "runs": {
                "laa950": {"method": "laa950", "atlas": "lidc"},
                "drasclr": {"method": "drasclr", "atlas": "lidc"},
            },
            "evaluation.folds": 2,
        },
    ),
    "pretrain": {**DEFAULT["pretrain"], **SMALL_TRAINING, "epochs": 1, "batch_size": 2, "groups": 1},
}
ALIGNED = "results/real/lidc"

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.real_ct,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real CTs in {FOLDER}: set DRASCLR_TEST_CT"),
]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    with (folder / "participants.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([("participant_id", "image"), *((id_, FOLDER / name) for id_, (name, _) in SCANS.items())])
    succeeded(snakemake(folder, CONFIG, "embed"))
    return folder


def metrics(folder, stage, participant):
    return read_record(folder / stage / participant).metrics


def test_all_of_them_are_included(embedded):
    assert (embedded / ALIGNED / "included.tsv").read_text().split() == ["participant_id", *SCANS]
    flow = json.loads((embedded / ALIGNED / "cohort_flow.json").read_text())
    assert (flow["included"], flow["excluded"]) == (3, 0)


@pytest.mark.parametrize("participant", SCANS)
def test_their_metrics_are_sane(embedded, participant):
    lung_l = SCANS[participant][1]
    segment = metrics(embedded, "results/real/segment", participant)
    assert segment["lung_l"] == pytest.approx(lung_l, rel=0.1)
    assert segment["lung_volume_l"] == pytest.approx(lung_l, rel=0.1)
    assert -920 < segment["mean_lung_hu"] < -700
    assert -1000 < segment["perc15_hu"] < segment["mean_lung_hu"]
    assert 0 <= segment["laa950_pct"] < segment["laa910_pct"] < 60

    register = metrics(embedded, f"{ALIGNED}/register", participant)
    assert register["dice"] > 0.78
    assert 0.4 < register["determinant"] < 2.5

    patches = metrics(embedded, f"{ALIGNED}/patches", participant)
    assert patches["valid_landmarks"] > 0.8 * patches["landmarks"]


def test_emphysema_shows_where_it_is(embedded):
    laa = {id_: metrics(embedded, "results/real/segment", id_)["laa950_pct"] for id_ in SCANS}
    assert laa["ct-64"] == pytest.approx(20, abs=2)
    assert max(laa, key=laa.get) == "ct-64"


@pytest.mark.parametrize("participant", SCANS)
def test_a_scan_alone_gets_the_same_features(embedded, participant):
    run = embedded / ALIGNED / "runs" / "drasclr"
    found = load_model(run / "model", **CONFIG["embedding"]).embed(FOLDER / SCANS[participant][0])
    store = zarr.open_group(run / "features" / "landmarks.zarr", mode="r")
    expected = store["features"][store.attrs["participant_ids"].index(participant)]
    np.testing.assert_allclose(found.landmarks, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("run", CONFIG["runs"])
def test_their_features_are_finite_and_differ(embedded, run):
    features = pd.read_parquet(embedded / ALIGNED / "runs" / run / "features" / "features.parquet")
    assert features["participant_id"].tolist() == list(SCANS)
    values = features.drop(columns=["participant_id", "fold"]).to_numpy()
    assert pd.notna(values).all()
    assert len({tuple(row) for row in values}) == 3
