"""What several files of rules share - the checked configuration, participants, paths. Functions only here."""

import json
from functools import cache

from drasclr_core.cohort import phantom_ids, read_participant_rows
from drasclr_core.config import (
    STAGE_VERSIONS,
    check_config,
    digest,
    is_pretrained,
    pretrain_settings,
    same_run,
)
from drasclr_core.errors import InputError
from drasclr_core.experiments import load_experiment, required_results


def repo(path):
    """Return the absolute path of a file of this repository."""
    return str(Path(workflow.basedir) / path)


def core(*modules):
    """Return the library files whose change makes a cheap rule run again."""
    return [repo(f"drasclr_core/{module}.py") for module in modules]


def checked(read, *arguments):
    """Call `read`; show the user's own faults without a traceback."""
    try:
        return read(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None


checked(check_config, config)

PRETRAINED_RUNS = [run for run in config["runs"] if is_pretrained(config, run)]
COHORTS = sorted(set(config["roles"].values()))


def is_phantom(cohort):
    return "phantom" in config["cohorts"][cohort]


@cache
def rows(cohort):
    """Return participant id -> row of the table, or an empty row for a phantom."""
    source = config["cohorts"][cohort]
    if is_phantom(cohort):
        return {id: {} for id in phantom_ids(source["phantom"]["subjects"])}
    return {
        row["participant_id"]: row
        for row in checked(read_participant_rows, source["participants"])
    }


def participants_table(wildcards):
    if is_phantom(wildcards.cohort):
        return f"results/{wildcards.cohort}/phantom/participants.tsv"
    return config["cohorts"][wildcards.cohort]["participants"]


def phantom_folder(wildcards):
    return (
        f"results/{wildcards.cohort}/phantom/{wildcards.id}"
        if is_phantom(wildcards.cohort)
        else []
    )


def phantom_spacing(wildcards):
    return config["cohorts"][wildcards.cohort]["phantom"]["spacing_mm"]


def scan_path(wildcards):
    """Return where a participant's scan is: not an input, for a missing scan excludes one subject, not all."""
    if is_phantom(wildcards.cohort):
        return f"{phantom_folder(wildcards)}/ct.nii.gz"
    table = Path(config["cohorts"][wildcards.cohort]["participants"])
    return str(table.parent / rows(wildcards.cohort)[wildcards.id]["image"])


def exclude_reason(wildcards):
    return rows(wildcards.cohort)[wildcards.id].get("exclude_reason") or None


def every_id(pattern):
    """Return an input function: `pattern` for every participant of the cohort, in the table's order."""

    def paths(wildcards):
        return expand(pattern, id=rows(wildcards.cohort), allow_missing=True)

    return paths


def stored(stage, path):
    """Return the output folder of a stage, temporary unless storage.keep names the stage."""
    return (
        directory(path) if stage in config["storage"]["keep"] else temp(directory(path))
    )


def atlas_source(wildcards):
    """Return the lung mask that becomes the atlas: a participant's folder, or a file."""
    atlas = config["atlases"][wildcards.atlas]
    if "mask" in atlas:
        return atlas["mask"]
    if atlas["participant"] not in rows(atlas["cohort"]):
        raise WorkflowError(
            f"atlases.{wildcards.atlas}.participant: '{atlas['participant']}' is not in the cohort {atlas['cohort']}"
        )
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
    """Return the experiment of a table, every run of which must be in the configuration."""
    content = checked(load_experiment, repo(f"experiments/{table}.yaml"))
    missing = sorted(
        {run for run, _ in required_results(content)} - set(config["runs"])
    )
    if missing:
        raise WorkflowError(
            f"experiments/{table}.yaml needs runs that the configuration lacks: {', '.join(missing)}"
        )
    return content


def table_cohort(table):
    return config["roles"][experiment(table).cohort]


def table_evaluations(wildcards):
    """Return the evaluations of a table, in the order of `required_results`."""
    cohort = table_cohort(wildcards.table)
    pairs = required_results(experiment(wildcards.table))
    return [run_path(cohort, run, f"eval/{task}.json") for run, task in pairs]


def table_settings(wildcards):
    return {"cohort": table_cohort(wildcards.table), "config_hash": digest(config)}
