"""Trainings on the tests' cluster: their configuration, a folder in which all but them is done, what they leave."""

import csv
import shutil
from pathlib import Path

import numpy as np
import psutil
from on_cluster import ALIGNED, small_config
from workflow_run import changed

CONFIG = changed(small_config(), {"pretrain.processes": 2, "pretrain.checkpoint_minutes": 0})
"""Two processes, with a checkpoint at every step."""

DOUBLE = {"method": "drasclr", "atlas": "healthy", "params": {"precision": "float64"}}
BOTH = changed(CONFIG, {"runs.double": DOUBLE})
"""In single precision, and in double."""

GPUS = {"pretrain.device": "auto"}
"""Asks for GPUs, one per process; torch finds none here and trains on the CPU."""


def model(run="drasclr"):
    return f"{ALIGNED}/runs/{run}/model"


def target(run="drasclr"):
    """Return what to ask Snakemake for to train a run."""
    return f"{model(run)}/SHA256SUMS"


def copy_untrained(source, folder):
    """Copy a finished folder, but for its encoders and what tells of them."""
    shutil.copytree(source, folder, copy_function=shutil.copy2)
    shutil.rmtree(folder / ALIGNED / "runs", ignore_errors=True)
    shutil.rmtree(folder / "logs" / "phantom" / "healthy" / "pretrain_encoder", ignore_errors=True)
    return folder


def weights(folder, run="drasclr"):
    """Return the bytes of an encoder."""
    return (Path(folder) / model(run) / "encoder.safetensors").read_bytes()


def losses(folder, run="drasclr"):
    """Return the local and the neighbouring loss of every step, (steps, 2)."""
    with (Path(folder) / model(run) / "metrics.csv").open() as file:
        return np.array([[float(row[key]) for key in ("loss_local", "loss_neighbour")] for row in csv.DictReader(file)])


def log(folder, run="drasclr"):
    """Return what the last job of a training wrote to its log."""
    path = Path(folder) / f"logs/{ALIGNED.removeprefix('results/')}/pretrain_encoder/{run}.log"
    return path.read_text() if path.exists() else ""


def trains(folder):
    """Return whether a training has left a checkpoint."""
    return any(Path(folder).glob("work/*/checkpoint-*.pt"))


def training_jobs(cluster, before):
    """Return the jobs on nodes with GPUs since `before`, in order: id -> state."""
    return {job: state for job, state in sorted(cluster.states().items()) if job not in before and "g" in state.nodes}


def trainers(folder):
    """Return the processes that train in a folder."""
    return [process for process in psutil.process_iter() if _trains_in(process, folder)]


def freeze(folder):
    """Stop the training's processes, so that there is time for what follows; to cancel their job wakes them."""
    for process in trainers(folder):
        process.suspend()


def thaw(folder):
    """Let stopped training processes go on."""
    for process in trainers(folder):
        process.resume()


def _trains_in(process, folder):
    try:
        return process.cwd() == str(folder) and "LOCAL_RANK" in process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
