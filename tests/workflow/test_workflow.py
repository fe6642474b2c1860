"""The whole workflow on a tiny phantom cohort: from nothing to Table 2, again, broken off, and in two processes.

That it makes the same bytes in another folder is seen in tests/faults.
"""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import zarr
from safetensors.numpy import load_file
from workflow_run import ROOT, changed, planned_jobs, snakemake, snakemake_command, succeeded, tiny_config

from drasclr_core import load_model
from drasclr_core.config.table_specs import load_experiment

pytestmark = pytest.mark.workflow

CONFIG = tiny_config()
TABLE = "results/table2.csv"
ALIGNED = "results/phantom/healthy"
MODEL = f"{ALIGNED}/runs/drasclr/model"
ENCODER = "encoder.safetensors"
LOG = "logs/phantom/healthy/pretrain_encoder/drasclr.log"
OWN_NAMES = {".snakemake_timestamp", ".workflow.lock"}  # Snakemake's, and the workflow's lock


@pytest.fixture
def without_model(finished, tmp_path):
    """A copy of the finished folder in which the encoder of `drasclr` is yet to be trained."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / MODEL)
    return folder


def test_every_run_of_table_2_has_its_numbers(finished):
    with (finished / TABLE).open() as file:
        rows = list(csv.DictReader(file))
    wanted = {row.run for row in load_experiment(ROOT / "experiments" / "table2.yaml").rows if row.run}
    assert {row["run"] for row in rows} == wanted <= set(CONFIG["runs"])
    columns = [name.removesuffix("_n") for name in rows[0] if name.endswith("_n")]
    assert len(columns) == 9
    for row in rows:
        for column in columns:
            assert 0 < int(row[f"{column}_n"]) <= 6
            assert np.isfinite(float(row[f"{column}_pooled"]))


def test_the_terminal_tells_the_work_and_what_came_of_it_in_few_lines(finished):
    lines = (finished / "terminal.txt").read_text().splitlines()
    assert len(lines) < 60
    assert re.match(r"\d+ jobs to do: .*3 pretrain_encoder", lines[1])
    end = next(number for number, line in enumerate(lines) if line.startswith("Done: "))
    assert lines[end + 1 :] == ["    results/table2.csv", "    results/table2.md"]


def test_table_2_is_readable_and_states_how_it_came_about(finished):
    text = (finished / TABLE).with_suffix(".md").read_text()
    assert "all 2 folds by subject at once" in text
    assert "readout: plain; seed 0" in text
    assert "- Features of encoders: pooled." in text
    assert "paper*" not in text
    assert "Cohort: phantom. Subjects, or patches, with the label, by task: ae_history" in text
    assert "nan" not in text.lower()


def test_a_finished_workflow_has_nothing_to_do_and_leaves_nothing_unfinished(finished):
    assert planned_jobs(finished, CONFIG, TABLE) == set()
    assert list((finished / "work").iterdir()) == []
    assert [path for path in (finished / "results").rglob(".*") if path.name not in OWN_NAMES] == []


def test_a_scan_alone_gets_the_features_that_the_workflow_gave_it(finished):
    found = load_model(finished / MODEL, features="pooled").embed(
        finished / "results/phantom/phantom/phantom-003/ct.nii.gz"
    )
    store = zarr.open_group(finished / ALIGNED / "runs/drasclr/features/landmarks.zarr", mode="r")
    place = store.attrs["participant_ids"].index("phantom-003")
    np.testing.assert_allclose(found.landmarks, store["features"][place], rtol=0, atol=1e-4)
    assert np.abs(store["features"][place] - store["features"][place - 1]).max() > 0.01
    means = pd.read_parquet(finished / ALIGNED / "runs/drasclr/features/features.parquet").set_index("participant_id")
    np.testing.assert_allclose(found.mean, means.loc["phantom-003"].drop("fold"), rtol=0, atol=1e-4)


def test_the_encoder_in_training_was_probed(finished):
    with (finished / MODEL / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    probed = [row["step"] for row in rows if int(row["step"]) % CONFIG["pretrain"]["probe_steps"] == 0]
    assert probed
    assert [row["step"] for row in rows if row["probe_score"]] == probed


def test_a_training_killed_midway_ends_the_same(finished, without_model):
    often = changed(CONFIG, {"pretrain.checkpoint_minutes": 0})
    command = snakemake_command(without_model, often, f"{MODEL}/SHA256SUMS")
    with subprocess.Popen(command, cwd=without_model, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while process.poll() is None and not list(without_model.glob("work/*/checkpoint-*.pt")):
            time.sleep(0.01)
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.name().startswith("python"):
                child.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode != 0
    assert not (without_model / MODEL / ENCODER).exists()

    succeeded(snakemake(without_model, often, f"{MODEL}/SHA256SUMS"))
    assert "resumed at step" in (without_model / LOG).read_text()
    assert (without_model / MODEL / ENCODER).read_bytes() == (finished / MODEL / ENCODER).read_bytes()


def train(folder, name, processes, **settings):
    """Replay the logged training job with other settings; return the model folder."""
    log = (folder / "logs/phantom/healthy/pretrain_encoder/drasclr.log").read_text()
    job = json.loads(log[log.index("{") : log.index("\n")])
    job["output"]["model"] = name
    job["params"]["settings"] |= settings
    launcher = [sys.executable]
    if processes > 1:
        launcher += [str(ROOT / "workflow_scripts/_torchrun.py"), "--standalone", "--nproc-per-node", str(processes)]
    command = [*launcher, str(ROOT / "workflow_scripts/pretrain_encoder.py"), json.dumps(job)]
    succeeded(subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False))
    return folder / name


def losses(model):
    with (model / "metrics.csv").open() as file:
        return np.array([[float(row[key]) for key in ("loss_local", "loss_neighbour")] for row in csv.DictReader(file)])


def test_two_processes_train_the_encoder_that_one_trains(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    one, two = (train(folder, str(processes), processes, epochs=1, precision="float64") for processes in (1, 2))
    assert len(losses(one)) == 8  # steps
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-8)
    weights = load_file(one / ENCODER)
    for name, found in load_file(two / ENCODER).items():
        # Stored as float32: rounding may go either way in the last bit.
        np.testing.assert_allclose(found, weights[name], rtol=np.finfo(np.float32).eps, atol=1e-8, err_msg=name)

    single = losses(train(folder, "single", 2))
    np.testing.assert_allclose(single[:3], losses(folder / MODEL)[:3], rtol=1e-5)


def test_a_bad_scan_is_excluded_with_its_reason_and_the_rest_go_on(finished, tmp_path):
    scans = [finished / f"results/phantom/phantom/phantom-00{number}/ct.nii.gz" for number in (1, 2)]
    (tmp_path / "broken.nii.gz").write_bytes(scans[0].read_bytes()[:20_000])
    images = {"good-1": scans[0], "bad": "broken.nii.gz", "gone": "absent.nrrd", "good-2": scans[1], "out": scans[0]}
    with (tmp_path / "clinic.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["participant_id", "image", "exclude_reason"])
        writer.writerows([(id_, image, "lobectomy" if id_ == "out" else "") for id_, image in images.items()])
    config = changed(
        CONFIG,
        {
            "cohorts": {"clinic": {"participants": "clinic.csv"}},
            "roles": {"copd": "clinic"},
            "atlases": {"healthy": {"mask": str(finished / "results/atlases/healthy/lung_mask.nii.gz")}},
            "preprocess.max_excluded_fraction": 0.6,
        },
    )
    succeeded(snakemake(tmp_path, config, "preprocess"))
    aligned = tmp_path / "results/clinic/healthy"
    assert (aligned / "included.tsv").read_text().split() == ["participant_id", "good-1", "good-2"]
    with (aligned / "exclusions.tsv").open() as file:
        exclusions = {row["participant_id"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert {id_: row["stage"] for id_, row in exclusions.items()} == {"bad": "ingest", "gone": "ingest", "out": "table"}
    assert "broken.nii.gz" in exclusions["bad"]["reason"]
    assert "absent.nrrd" in exclusions["gone"]["reason"]
    assert exclusions["out"]["reason"] == "lobectomy"
    assert (aligned / "bank.zarr" / "zarr.json").exists()
