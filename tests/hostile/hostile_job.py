"""What must make a job fail, with a clear error and nothing half-written: full disks, foreign and broken files."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from hostile_case import clean_ct
from hostile_run import ordinary_user
from scan_model import PROVENANCE
from toy_bank import toy_grid
from volumes import saved
from workflow_run import ROOT

from drasclr_core.atlas.stages import ingest
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import run_subject_stage
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.files import SUMS, WEIGHTS
from drasclr_core.model.folder import load_model, save_model
from drasclr_core.model.released_model import import_released
from drasclr_core.scan.lung_weights import check_weights
from drasclr_core.train.checkpoint import newest_checkpoint
from drasclr_core.train.loop import initial_encoder

_FULL_DISK = 'mount -t tmpfs -o size=64k tmpfs "$1" && { "$2" "$3" "$4"; code=$?; ls -A "$1" >&2; exit $code; }'
_SETTINGS = PretrainSettings(feature_dim=8, num_experts=2)


class Malice:
    """Unpickled, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def read_only_output(folder):
    """Run a job whose results folder may not be written to."""
    scan = saved(clean_ct(), folder / "scan.nii.gz")
    results = folder / "results"
    results.mkdir()
    results.chmod(0o555)

    def work(partial):
        return ingest(scan, partial, spacing_mm=5.0, axes="LPS")

    try:
        with ordinary_user():
            run_subject_stage(results / "p1", "ingest", "p1", [], work)
    finally:
        results.chmod(0o755)
        assert list(results.iterdir()) == []


def full_disk(folder):
    """Run a job's script on a disk of 64 kB, made for it in a name space of its own."""
    scan = saved(clean_ct(), folder / "scan.nii.gz")
    (folder / "disk").mkdir()
    job = {
        "input": {},
        "output": {"volume": str(folder / "disk" / "p1")},
        "params": {
            "listed": {"scan": str(scan), "exclude_reason": None},
            "settings": {"spacing_mm": 5.0, "axes": "LPS"},
        },
        "wildcards": {"id": "p1"},
    }
    script = str(ROOT / "workflow_scripts" / "ingest_scan.py")
    command = ["unshare", "-rm", "sh", "-c", _FULL_DISK, "sh", str(folder / "disk"), sys.executable, script]
    process = subprocess.run([*command, json.dumps(job)], capture_output=True, text=True, check=False, cwd=folder)
    if "unshare" in process.stderr or "mount:" in process.stderr:
        pytest.skip("no file system can be mounted here")
    assert process.returncode != 0
    error = next(line for line in process.stderr.splitlines() if line.startswith("OSError"))
    assert process.stderr.splitlines()[-1].startswith("p1 failed in ingest"), "something was left on the disk"
    raise OSError(error)


def malicious_released(folder):
    """Read a published checkpoint that would run code."""
    torch.save({"state_dict": Malice(folder / "executed")}, folder / "checkpoint.pth.tar")
    _import(folder)


def malicious_training(folder):
    """Go on with a training's checkpoint that would run code."""
    torch.save(Malice(folder / "executed"), folder / "checkpoint-000000001.pt")
    newest_checkpoint(folder)


def malicious_lungmask(folder):
    """Segment with weights that would run code."""
    torch.save({"a": Malice(folder / "executed")}, folder / "unet.pth")
    check_weights(folder / "unet.pth", sha256=None)


def other_lungmask(folder):
    """Segment with weights that are not the published ones."""
    torch.save({"a": torch.zeros(3)}, folder / "unet.pth")
    check_weights(folder / "unet.pth")


def malicious_model(folder):
    """Use a model folder without sums whose weights are a pickle."""
    weights = _model(folder, sums=False)
    weights.write_bytes(pickle.dumps(Malice(folder / "executed")))
    load_model(weights.parent)


def truncated_model(folder):
    """Use a model folder without sums whose weights end early."""
    weights = _model(folder, sums=False)
    weights.write_bytes(weights.read_bytes()[:-1000])
    load_model(weights.parent)


def truncated_released(folder):
    """Read a published checkpoint that ends early."""
    path = folder / "checkpoint.pth.tar"
    torch.save({"state_dict": initial_encoder(_SETTINGS).state_dict()}, path)
    path.write_bytes(path.read_bytes()[: os.path.getsize(path) // 2])
    _import(folder)


def changed_model(folder):
    """Use a model folder of which a single bit was changed."""
    weights = _model(folder)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    load_model(weights.parent)


def _import(folder):
    try:
        import_released(folder / "checkpoint.pth.tar", folder / "mask.nii.gz", folder / "points.npy", folder / "model")
    finally:
        assert [path.name for path in folder.iterdir()] == ["checkpoint.pth.tar"]


def _model(folder, sums=True):
    """Write a model folder; return the path of its weights."""
    (folder / "model").mkdir()
    (folder / "atlas.nii.gz").write_bytes(b"a mask")
    save_model(folder / "model", initial_encoder(_SETTINGS), toy_grid(), _SETTINGS, PROVENANCE, folder / "atlas.nii.gz")
    if not sums:
        (folder / "model" / SUMS).unlink()
    return folder / "model" / WEIGHTS


CASES = {  # name -> what it is, what to do, the error, what it says
    "read-only-output": ("read-only output", read_only_output, PermissionError, "Permission denied"),
    "full-disk": ("disk full (a small tmpfs)", full_disk, OSError, "could not be written whole: is the disk full"),
    "malicious-released": (
        "malicious pickle as published checkpoint",
        malicious_released,
        InputError,
        "cannot be read as a checkpoint of tensors alone",
    ),
    "malicious-training": (
        "malicious pickle as checkpoint of a training",
        malicious_training,
        InputError,
        "holds more than tensors and plain values, and is not read",
    ),
    "malicious-lungmask": (
        "malicious pickle as weights of lungmask",
        malicious_lungmask,
        InputError,
        "not a file of plain network weights",
    ),
    "malicious-model": (
        "malicious pickle as weights of a model folder without sums",
        malicious_model,
        InputError,
        "does not hold the encoder",
    ),
    "other-lungmask": ("weights of lungmask with another sha256", other_lungmask, InputError, "sha256 is .* expected"),
    "changed-model": (
        "model folder whose sha256 does not match",
        changed_model,
        InputError,
        "is not the file that was written: its sha256 is",
    ),
    "truncated-released": (
        "truncated published checkpoint",
        truncated_released,
        InputError,
        "cannot be read as a checkpoint",
    ),
    "truncated-model": (
        "truncated weights of a model folder without sums",
        truncated_model,
        InputError,
        "does not hold the encoder",
    ),
}
