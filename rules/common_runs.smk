"""Helpers of what comes after the atlas - runs, their settings and paths. Functions only here."""

import json
import math
import shlex
import sys

from drasclr_core.config import digest, is_pretrained, pretrain_settings, same_run
from drasclr_core.settings import UPKEEP

PRETRAINED_RUNS = [run for run in config["runs"] if is_pretrained(config, run)]


def aligned(name):
    """Return results/{cohort}/{atlas}/`name` for every cohort in a role and every atlas of a run."""
    atlases = sorted({run["atlas"] for run in config["runs"].values()})
    return expand(
        "results/{cohort}/{atlas}/{name}", cohort=COHORTS, atlas=atlases, name=name
    )


def run_path(cohort, run, name):
    """Return where a run's results stand: equal runs under two names share the first one's."""
    first = same_run(config, run)
    return f"results/{cohort}/{config['runs'][first]['atlas']}/runs/{first}/{name}"


def of_runs(name, runs):
    """Return `name` of every run for every cohort in a role."""
    return sorted({run_path(cohort, run, name) for cohort in COHORTS for run in runs})


def patch_settings(atlas):
    """Return all settings that decide the patches."""
    upstream = ("segmentation", "registration", "landmarks", "patches")
    preprocess = {key: config["preprocess"][key] for key in ("axes", "spacing_mm")}
    return {
        **{section: config[section] for section in upstream},
        "preprocess": preprocess,
        "atlas": config["atlases"][atlas],
    }


def decisive_settings(run):
    """Return the settings of a run that change its results."""
    if not is_pretrained(config, run):
        return config["runs"][run].get("params", {})
    settings = pretrain_settings(config, run)
    harmless = {"processes", *UPKEEP}
    return {key: value for key, value in settings.items() if key not in harmless}


def upkeep(wildcards):
    """Return the settings that change no result. As a resource: a parameter that changes would train again."""
    settings = pretrain_settings(config, wildcards.run)
    # The table is no input: another label must not train again. It is there before any training, see cohort.smk.
    probe = {
        "participants": f"results/{wildcards.cohort}/participants.tsv",
        "folds": config["evaluation"]["folds"],
        "readout": config["evaluation"]["readout"],
    }
    return json.dumps(
        {"resources": {"probe": probe, **{key: settings[key] for key in UPKEEP}}}
    )


def launcher(wildcards):
    """Return what starts the training: in a conda environment its Python, else the one that runs Snakemake."""
    methods = workflow.deployment_settings.deployment_method
    in_conda = any(method.name == "CONDA" for method in methods)
    python = "python" if in_conda else shlex.quote(sys.executable)
    processes = pretrain_settings(config, wildcards.run)["processes"]
    if processes == 1:
        return python
    torchrun = shlex.quote(repo("workflow_scripts/_torchrun.py"))
    return f"{python} {torchrun} --standalone --nproc-per-node {processes}"


def training_threads(wildcards):
    settings = pretrain_settings(config, wildcards.run)
    return settings["processes"] * settings["cpu_threads"]


def training_minutes():
    """Return the longest time limit of a run, for a cluster to know; None, no resource, if one has none."""
    limits = [
        pretrain_settings(config, run)["time_limit_minutes"] for run in PRETRAINED_RUNS
    ]
    return None if None in limits or not limits else math.ceil(max(limits))


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


def method_code(wildcards):
    method = config["runs"][wildcards.run]["method"]
    return core("methods/__init__", f"methods/{method}")


def run_params(wildcards):
    content = config["runs"][wildcards.run]
    return {"name": content["method"], "params": content.get("params", {})}


def config_hash(cohort, runs):
    """Return a hash of every setting that decides what is found for these runs."""
    decisive = {
        "seed": config["seed"],
        "cohort": config["cohorts"][cohort],
        "evaluation": config["evaluation"],
        "dense": config["dense"],
        "detection": config["detection"],
    }
    for run in runs:
        content = config["runs"][run]
        decisive[f"runs.{run}"] = {
            "method": content["method"],
            "params": decisive_settings(run),
            **patch_settings(content["atlas"]),
        }
    return digest(decisive)
