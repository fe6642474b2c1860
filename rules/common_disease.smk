"""Helpers of the disease probe - which runs it compares, on which cohort and atlas. Functions only here."""

PRIMARY_RUN, REFERENCE_RUN = "drasclr", "untrained"


def truth_folder(wildcards):
    if not is_phantom(wildcards.cohort):
        raise WorkflowError(
            f"The disease probe needs the true disease, which only a phantom has: cohorts.{wildcards.cohort} is none"
        )
    return phantom_folder(wildcards)


def runs_on(atlas):
    """Return the trained runs of Table 2 on an atlas; the ablations have tables of their own."""
    compared = {run for run, _ in required_results(experiment("table2"))}
    return [
        run
        for run in PRETRAINED_RUNS
        if run in compared and config["runs"][run]["atlas"] == atlas
    ]


def probed_runs(wildcards):
    """Return the runs to compare: every trained one of Table 2 on this atlas."""
    return runs_on(wildcards.atlas)


def probed_features(wildcards):
    """Return the features folders of `probed_runs`, in their order."""
    return [
        run_path(wildcards.cohort, run, "features") for run in probed_runs(wildcards)
    ]


def disease_probe(wildcards):
    """Return the probe of the cohort in the role copd, on the atlas of the two runs of the primary figure."""
    cohort = config["roles"]["copd"]
    if not is_phantom(cohort):
        raise WorkflowError(
            f"results/disease_probe.md needs a phantom in roles.copd, for only a phantom's true disease is known; '{cohort}' is none"
        )
    pair = [run for run in (PRIMARY_RUN, REFERENCE_RUN) if run in PRETRAINED_RUNS]
    atlases = {config["runs"][run]["atlas"] for run in pair}
    if len(pair) < 2 or len(atlases) > 1:
        raise WorkflowError(
            f"results/disease_probe.md needs runs.{PRIMARY_RUN} and runs.{REFERENCE_RUN}, both of the method drasclr and on one atlas"
        )
    return f"results/{cohort}/{atlases.pop()}/disease_probe.json"


def subject_evaluations(run):
    """Return an input function: the evaluations of a run for every task of Table 2."""

    def paths(wildcards):
        tasks = {task for _, task in required_results(experiment("table2"))}
        cohort = config["roles"]["copd"]
        return [run_path(cohort, run, f"eval/{task}.json") for task in sorted(tasks)]

    return paths


def disease_settings(wildcards):
    cohort = config["roles"]["copd"]
    runs = runs_on(config["runs"][PRIMARY_RUN]["atlas"])
    return {
        "primary": PRIMARY_RUN,
        "cohort": cohort,
        "config_hash": config_hash(cohort, runs),
        "seed": config["seed"],
    }
