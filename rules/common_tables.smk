"""Helpers of the tables - what an experiment needs of the configuration. Functions only here."""

from drasclr_core.experiments import load_experiment, required_results


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
    tables = sorted(
        path.stem for path in Path(repo("experiments")).glob("table[0-9].yaml")
    )
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
    return [run_path(cohort, run, f"eval/{name}.json") for run, name in pairs]


def table_settings(wildcards):
    """Return what a table says of its making."""
    cohort = table_cohort(wildcards.table)
    runs = {run for run, _ in required_results(experiment(wildcards.table))}
    return {"cohort": cohort, "config_hash": config_hash(cohort, runs)}
