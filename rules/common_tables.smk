"""Helpers of the tables - what an experiment needs of the configuration. Functions only here."""

import re

from drasclr_core.config.table_specs import (
    compared_results,
    load_comparison,
    load_experiment,
    required_results,
)
from drasclr_core.config.tasks import TASKS


@cache
def experiment(table):
    return checked(load_experiment, repo(f"experiments/{table}.yaml"))


@cache
def comparison(name):
    return checked(load_comparison, repo(f"experiments/{name}.yaml"))


def experiments_named(pattern):
    """Return the experiments whose whole names match, table10 after table9."""
    paths = Path(repo("experiments")).glob("*.yaml")
    names = [path.stem for path in paths if re.fullmatch(pattern, path.stem)]
    parts = {name: re.split("([0-9]+)", name) for name in names}
    return sorted(
        names,
        key=lambda name: [int(part) if part.isdigit() else part for part in parts[name]],
    )


def lacking(table):
    """Return what a table needs and the configuration lacks."""
    role = experiment(table).cohort
    runs = dict.fromkeys(name for name, _ in required_results(experiment(table)))
    roles = [] if role in config["roles"] else [f"a cohort in roles.{role}"]
    needed = (column.task for column in experiment(table).columns.values())
    boxes = any(task.endswith(("_detection", "_location")) for task in needed)
    if boxes and not roles and not has_boxes(config["roles"][role]):
        roles = [f"a table of boxes in cohorts.{config['roles'][role]}.boxes"]
    return [*roles, *(f"runs.{name}" for name in runs if name not in config["runs"])]


def possible_tables(wildcards):
    """Return the tables for which the configuration has the cohort and the runs."""
    tables = experiments_named("table[0-9]+")
    return [f"results/{table}.csv" for table in tables if not lacking(table)]


def possible_comparisons(wildcards):
    """Return the tables of significance tests on those tables."""
    names = experiments_named("tableA[0-9]+|table[0-9]+_test")
    return [f"results/{name}.csv" for name in names if not lacking(comparison(name).table)]


def table_cohort(table):
    if lacking(table):
        raise WorkflowError(f"experiments/{table}.yaml needs {', '.join(lacking(table))} in the configuration")
    return config["roles"][experiment(table).cohort]


def in_every_training(pairs):
    """Return the (training, evaluation) pairs of (run, evaluation) pairs."""
    return [(each, name) for run, name in pairs for each in trainings(run)]


def evaluation_paths(cohort, pairs):
    return [run_path(cohort, training, f"eval/{name}.json") for training, name in pairs]


def table_results(wildcards):
    """Return what `table_evaluations` are: (training, evaluation) pairs."""
    return in_every_training(required_results(experiment(wildcards.table)))


def table_evaluations(wildcards):
    return evaluation_paths(table_cohort(wildcards.table), table_results(wildcards))


def table_settings(wildcards):
    """Return what a table says of its making."""
    cohort = table_cohort(wildcards.table)
    runs = {run for run, _ in required_results(experiment(wildcards.table))}
    return {"cohort": cohort, "config_hash": config_hash(cohort, runs)}


def table_is_phantom(wildcards):
    return is_phantom(table_cohort(wildcards.table))


def compared(name):
    """Return the cohort of a comparison and the (run, evaluation) pairs that it needs."""
    table = comparison(name).table
    cohort = table_cohort(table)
    return cohort, checked(compared_results, comparison(name), experiment(table))


def comparison_results(wildcards):
    """Return what `compared_evaluations` are: (training, evaluation) pairs."""
    return in_every_training(compared(wildcards.comparison)[1])


def compared_evaluations(wildcards):
    cohort, _ = compared(wildcards.comparison)
    return evaluation_paths(cohort, comparison_results(wildcards))


def comparison_code(wildcards):
    modules = ("evaluate/significance", "report/tables_significance", "report/tables_figures", "report/tables")
    names = (wildcards.comparison, comparison(wildcards.comparison).table)
    specs = [f"experiments/{name}.yaml" for name in names]
    content = code_of("make_significance", *modules, "config/table_specs", also=specs)
    return content(wildcards)


def comparison_settings(wildcards):
    """Return what a table of tests says of its making."""
    cohort, pairs = compared(wildcards.comparison)
    return {
        "cohort": cohort,
        "config_hash": config_hash(cohort, {run for run, _ in pairs}),
    }


def comparison_is_phantom(wildcards):
    return is_phantom(compared(wildcards.comparison)[0])
