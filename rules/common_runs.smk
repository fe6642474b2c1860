"""Helpers of atlases and runs - their settings and paths. Functions only here."""

from drasclr_core.config.checks import (
    digest,
    every_training,
    is_pretrained,
    pretrain_settings,
    run_of,
    same_run,
    training_names,
)
from drasclr_core.config.settings import UPKEEP


def has_encoder(training):
    return is_pretrained(config, training)


PRETRAINED_RUNS = list(filter(has_encoder, config["runs"]))


def run_settings(training):
    """Return what the configuration says of a training's run."""
    return config["runs"][run_of(training)]


def trainings(run):
    """Return the names of a run's trainings in the order of its seeds; the run alone where there is nothing to train."""
    return training_names(config, run)


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
    return expand("results/{cohort}/{atlas}/{name}", cohort=COHORTS, atlas=atlases, name=name)


def run_path(cohort, training, name):
    """Return where a training's results stand, of a run the first one's: equal ones share the results of one."""
    first = same_run(config, training)
    return f"results/{cohort}/{run_settings(first)['atlas']}/runs/{first}/{name}"


def of_runs(name, runs):
    """Return `name` of every training of the runs for every cohort in a role."""
    every = [training for run in sorted(runs) for training in trainings(run)]
    paths = (run_path(cohort, each, name) for cohort in COHORTS for each in every)
    return list(dict.fromkeys(paths))


def patch_settings(atlas):
    """Return all settings that decide the patches."""
    upstream = ("segmentation", "registration", "landmarks", "patches")
    preprocess = {key: config["preprocess"][key] for key in ("axes", "spacing_mm")}
    return {
        **{section: config[section] for section in upstream},
        "preprocess": preprocess,
        "atlas": config["atlases"][atlas],
    }


def decisive_settings(training):
    """Return the settings of a training, or of a run without one, that change its results."""
    if not has_encoder(training):
        return run_settings(training).get("params", {})
    settings = pretrain_settings(config, training)
    harmless = {"processes", "nodes", *UPKEEP}
    return {key: value for key, value in settings.items() if key not in harmless}


def method_code(wildcards):
    method = run_settings(wildcards.run)["method"]
    modules = ("methods/__init__", f"methods/{method}", "evaluate/histograms")
    return code_of("embed_cohort", *modules)(wildcards)


def run_params(wildcards):
    content = run_settings(wildcards.run)
    return {"name": content["method"], "params": content.get("params", {})}


def config_hash(cohort, runs):
    """Return a hash of every setting that decides what is found for these runs, in all of their trainings."""
    decisive = {
        "seed": config["seed"],
        "cohort": config["cohorts"][cohort],
        "embedding": config["embedding"],
        "evaluation": config["evaluation"],
        "dense": config["dense"],
        "detection": config["detection"],
    }
    for training in [each for run in runs for each in trainings(run)]:
        content = run_settings(training)
        decisive[f"runs.{training}"] = {
            "method": content["method"],
            "params": decisive_settings(training),
            **patch_settings(content["atlas"]),
        }
    return digest(decisive)
