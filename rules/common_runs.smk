"""Helpers of what comes after the atlas - runs, their settings and paths, tables. Functions only here."""

import json

from drasclr_core.config import digest, is_pretrained, pretrain_settings, same_run
from drasclr_core.experiments import load_experiment, required_results

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


def decisive_settings(wildcards):
    settings = pretrain_settings(config, wildcards.run)
    return {key: value for key, value in settings.items() if key not in UPKEEP}


UPKEEP = ("processes", "checkpoint_minutes", "log_steps", "row_memory_gb")


def upkeep(wildcards):
    """Return the settings that change no result. As a resource: a parameter that changes would train again."""
    settings = pretrain_settings(config, wildcards.run)
    return json.dumps(
        {"resources": {key: settings[key] for key in UPKEEP if key != "processes"}}
    )


def launcher(wildcards):
    processes = pretrain_settings(config, wildcards.run)["processes"]
    return (
        "python"
        if processes == 1
        else f"torchrun --standalone --nproc-per-node {processes}"
    )


def training_job(wildcards, input, output):
    """Return the pretraining job as its script takes it; all that decides the patches is part of it."""
    upstream = ("preprocess", "segmentation", "registration", "landmarks", "patches")
    provenance = {section: config[section] for section in upstream}
    provenance |= {
        "atlas": config["atlases"][wildcards.atlas],
        "stage_versions": STAGE_VERSIONS,
    }
    return json.dumps(
        {
            "input": {"bank": input.bank, "atlas": input.atlas},
            "output": {"model": output.model},
            "params": {
                "settings": decisive_settings(wildcards),
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


@cache
def experiment(table):
    return checked(load_experiment, repo(f"experiments/{table}.yaml"))


def lacking(table):
    """Return what a table needs and the configuration lacks."""
    role = experiment(table).cohort
    runs = dict.fromkeys(name for name, _ in required_results(experiment(table)))
    roles = [] if role in config["roles"] else [f"a cohort in roles.{role}"]
    return [*roles, *(f"runs.{name}" for name in runs if name not in config["runs"])]


def possible_tables():
    """Return the tables for which the configuration has the cohort and the runs."""
    tables = sorted(path.stem for path in Path(repo("experiments")).glob("*.yaml"))
    return [f"results/{table}.csv" for table in tables if not lacking(table)]


def table_cohort(table):
    if lacking(table):
        raise WorkflowError(
            f"experiments/{table}.yaml needs {', '.join(lacking(table))} in the configuration"
        )
    return config["roles"][experiment(table).cohort]


def table_evaluations(wildcards):
    """Return the evaluations of a table, in the order of `required_results`."""
    cohort = table_cohort(wildcards.table)
    pairs = required_results(experiment(wildcards.table))
    return [run_path(cohort, run, f"eval/{task}.json") for run, task in pairs]


def table_settings(wildcards):
    return {"cohort": table_cohort(wildcards.table), "config_hash": digest(config)}
