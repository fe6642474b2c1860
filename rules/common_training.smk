"""Helpers of pretraining - what starts it, what it asks a cluster for, the job itself. Functions only here."""

import json
import math
import shlex
import sys

from drasclr_core.config.checks import pretrain_settings
from drasclr_core.config.settings import UPKEEP


def upkeep(wildcards):
    """Return the settings that change no result. As a resource: a parameter that changes would train again."""
    settings = pretrain_settings(config, wildcards.run)
    # The table is no input: another label must not train again, and ancient() would hide a changed parameter while the
    # table is checked again. It is there before any training by the priorities of its rules, see cohort.smk.
    probe = {
        "participants": f"results/{wildcards.cohort}/participants.tsv",
        "folds": config["evaluation"]["folds"],
        "readout": config["evaluation"]["readout"],
        "seed": config["seed"],
        "features": config["embedding"]["features"],
    }
    if is_phantom(wildcards.cohort):
        folder = f"results/{wildcards.cohort}"
        probe["truth"] = {
            "phantom": f"{folder}/phantom",
            "ingested": f"{folder}/ingest",
            "patches": f"{folder}/{wildcards.atlas}/patches",
        }
    return json.dumps({"resources": {"probe": probe, **{key: settings[key] for key in UPKEEP}}})


def launcher(wildcards):
    """Return the shell's words before the training's script.

    A cluster sends SIGTERM to every process of a job, Ctrl-C sends SIGINT. The training ends in order then; the shell
    would die at once and break it off, so it is told to ignore both.
    """
    return f"trap '' TERM INT; {start_of_training(wildcards)}"


def start_of_training(wildcards):
    """Return what starts the training: in a conda environment its Python, else the one that runs Snakemake.

    On several nodes one srun starts one torchrun per node. It must ask again for what the job was given: CPUs, GPUs.
    """
    python = "python" if uses_conda() else shlex.quote(sys.executable)
    processes, nodes = training_processes(wildcards)
    if processes == 1:
        return python
    torchrun = f"{python} {shlex.quote(repo('workflow_scripts/_torchrun.py'))}"
    if nodes == 1:
        # By address: in a container the machine's name may mean nothing.
        local = "--standalone --local-addr 127.0.0.1"
        return f"{torchrun} {local} --nproc-per-node {processes}"
    gpus = training_gpus(wildcards)
    step = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --cpus-per-task={node_cpus(wildcards)}"
    step += f" --gres={gpus}" if gpus else ""
    return f"{step} --kill-on-bad-exit=1 {torchrun} --nproc-per-node {processes // nodes}"


def training_processes(wildcards):
    """Return the processes of a training, and the nodes that share them."""
    settings = pretrain_settings(config, wildcards.run)
    return settings["processes"], settings["nodes"]


def training_threads(wildcards):
    settings = pretrain_settings(config, wildcards.run)
    return settings["processes"] * settings["cpu_threads"]


def training_nodes(wildcards):
    """Return the nodes of a training, as Slurm counts them and the tasks on them; None, no resource, for one node."""
    nodes = training_processes(wildcards)[1]
    return nodes if nodes > 1 else None


def training_mpi(wildcards):
    """Return what keeps Slurm's executor from putting the rule's command into a step of one node."""
    return "srun" if training_nodes(wildcards) else None


def node_cpus(wildcards):
    """Return the CPUs per node of a training on several nodes; None, no resource, on one: there its threads say it."""
    nodes = training_nodes(wildcards)
    return training_threads(wildcards) // nodes if nodes else None


def training_gpus(wildcards):
    """Return the GPUs per node to ask Slurm for, one per process; None, no resource, where the device is the CPU."""
    processes, nodes = training_processes(wildcards)
    device = pretrain_settings(config, wildcards.run)["device"]
    return gpus(device, processes // nodes)


def gpus(device, count=1):
    """Return what Slurm calls so many GPUs of a node; None, no resource, where the device is the CPU."""
    return None if device == "cpu" else f"gpu:{count}"


def training_minutes():
    """Return the longest time limit of a run, for a cluster to know; None, no resource, if one has none."""
    limits = [pretrain_settings(config, run)["time_limit_minutes"] for run in PRETRAINED_RUNS]
    return None if None in limits or not limits else math.ceil(max(limits))


def training_retries():
    """Return how often a training is started again: four days long where it has a time limit, else as for any job.

    Not by the Snakemake within a cluster's job, which would use up the time of that job: it is submitted again.
    """
    minutes = training_minutes()
    return minutes and (0 if is_remote() else math.ceil(4 * 24 * 60 / minutes))


def training_job(wildcards):
    """Return the pretraining job as its script takes it; all that decides the patches is part of it.

    A function of the wildcards alone: a parameter made of `input` or `output` would not count as changed.
    """
    provenance = {
        **patch_settings(wildcards.atlas),
        "stage_versions": STAGE_VERSIONS,
    }
    folder = f"results/{wildcards.cohort}/{wildcards.atlas}"
    return json.dumps(
        {
            "input": {
                "bank": f"{folder}/bank.zarr",
                "atlas": f"results/atlases/{wildcards.atlas}/lung_mask.nii.gz",
            },
            "output": {"model": f"{folder}/runs/{wildcards.run}/model"},
            "params": {
                "settings": decisive_settings(wildcards.run),
                "provenance": provenance,
            },
        }
    )
