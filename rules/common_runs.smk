"""Helpers of atlases and runs - their settings and paths. Functions only here."""

from drasclr_core.config import digest, is_pretrained, pretrain_settings, same_run
from drasclr_core.settings import UPKEEP

PRETRAINED_RUNS = [run for run in config["runs"] if is_pretrained(config, run)]


def atlas_source(wildcards):
    """Return the lung mask that becomes the atlas: a participant's folder, or a file."""
    atlas = config["atlases"][wildcards.atlas]
    if "mask" in atlas:
        return atlas["mask"]
    return f"results/{atlas['cohort']}/segment/{atlas['participant']}"


def atlas_corners(wildcards):
    return config["atlases"][wildcards.atlas].get("corners", [])


def atlas_settings(wildcards):
    convention = config["atlases"][wildcards.atlas].get("convention", "centre")
    return {**config["landmarks"], "convention": convention}


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
    harmless = {"processes", "nodes", *UPKEEP}
    return {key: value for key, value in settings.items() if key not in harmless}


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
