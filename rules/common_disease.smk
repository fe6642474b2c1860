"""Helpers of the disease probe - which trainings it compares, on which cohorts and atlas. Functions only here."""

from drasclr_core.config.checks import UNSEEN, run_of, training_seed

PRIMARY_RUN, REFERENCE_RUN = "drasclr", "untrained"


def truth_folder(wildcards):
    if not is_phantom(wildcards.cohort):
        raise WorkflowError(
            f"The disease probe needs the true disease, which only a phantom has: cohorts.{wildcards.cohort} is none"
        )
    return phantom_folder(wildcards)


def embedding_model(wildcards):
    """Return the model that embeds a cohort: trained on it or, of phantoms that no training sees, on the role copd's."""
    is_unseen = wildcards.cohort == config["roles"].get(UNSEEN)
    cohort = config["roles"]["copd"] if is_unseen else wildcards.cohort
    return f"results/{cohort}/{wildcards.atlas}/runs/{wildcards.run}/model/SHA256SUMS"


def runs_on(atlas):
    """Return the trained runs of Table 2 on an atlas; the ablations have tables of their own."""
    compared = {run for run, _ in required_results(experiment("table2"))}
    return [run for run in PRETRAINED_RUNS if run in compared and config["runs"][run]["atlas"] == atlas]


def probed_trainings(wildcards):
    """Return name, run and seed of what is compared: every training of the runs of Table 2 on this atlas."""
    names = [name for run in runs_on(wildcards.atlas) for name in trainings(run)]
    return [{"name": name, "run": run_of(name), "seed": training_seed(config, name)} for name in names]


def probed_features(wildcards):
    """Return the features folders of `probed_trainings`, in their order."""
    names = [training["name"] for training in probed_trainings(wildcards)]
    return [run_path(wildcards.cohort, name, "features") for name in names]


def partner(training):
    """Return the training of the untrained run that has the seed of another."""
    seed = training_seed(config, training)
    for name in trainings(REFERENCE_RUN):
        if training_seed(config, name) == seed:
            return name
    raise WorkflowError(
        f"runs.{REFERENCE_RUN}.seeds lacks {seed}, a seed of runs.{run_of(training)}, which is compared with it: add {seed} there"
    )


def probed_cohorts():
    """Return the cohort in the role copd and, if there are, the phantoms that no training sees."""
    return [config["roles"][role] for role in ("copd", UNSEEN) if role in config["roles"]]


def disease_probes(wildcards):
    """Return the probes of `probed_cohorts`, on the atlas of the two runs of the primary figure."""
    cohort = config["roles"]["copd"]
    if not is_phantom(cohort):
        raise WorkflowError(
            f"The disease probe needs a phantom in roles.copd, for only a phantom's true disease is known; '{cohort}' is none"
        )
    pair = [run for run in (PRIMARY_RUN, REFERENCE_RUN) if run in PRETRAINED_RUNS]
    atlases = {config["runs"][run]["atlas"] for run in pair}
    if len(pair) < 2 or len(atlases) > 1:
        raise WorkflowError(
            f"The disease probe needs runs.{PRIMARY_RUN} and runs.{REFERENCE_RUN}, both of the method drasclr and on one atlas"
        )
    atlas = atlases.pop()
    for name in [name for run in runs_on(atlas) for name in trainings(run)]:
        partner(name)
    return [f"results/{each}/{atlas}/disease_probe.json" for each in probed_cohorts()]


def subject_evaluations(training):
    """Return the evaluations of a training for every task of Table 2."""
    tasks = {task for _, task in required_results(experiment("table2"))}
    cohort = config["roles"]["copd"]
    return [run_path(cohort, training, f"eval/{task}.json") for task in sorted(tasks)]


def primary_evaluations(wildcards):
    return subject_evaluations(PRIMARY_RUN)


def reference_evaluations(wildcards):
    return subject_evaluations(partner(PRIMARY_RUN))


def disease_settings(wildcards):
    cohort, runs = config["roles"]["copd"], runs_on(config["runs"][PRIMARY_RUN]["atlas"])
    return {
        "primary": PRIMARY_RUN,
        "cohorts": {
            each: digest([config_hash(name, runs) for name in dict.fromkeys([cohort, each])])
            for each in probed_cohorts()
        },
        "seed": config["seed"],
    }
