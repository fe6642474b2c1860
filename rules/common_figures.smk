"""Helpers of the figures and of the report - what they need of the configuration. Functions only here."""

from drasclr_core.config.figure_specs import KINDS, load_figure


@cache
def figure(name):
    return checked(load_figure, repo(f"experiments/{name}.yaml"))


def figure_lacks(name):
    """Return what a figure needs and the configuration lacks."""
    role, runs = figure(name).cohort, figure(name).runs
    roles = [] if role in config["roles"] else [f"a cohort in roles.{role}"]
    faults = [*roles, *(f"runs.{run}" for run in runs if run not in config["runs"])]
    atlases = {config["runs"][run]["atlas"] for run in runs if run in config["runs"]}
    faults += [f"runs.{' and runs.'.join(runs)} on one atlas"] * (len(atlases) > 1)
    if not roles and KINDS[figure(name).figure].needs_boxes:
        cohort = config["roles"][role]
        faults += [] if has_boxes(cohort) else [f"cohorts.{cohort}.boxes"]
    return faults


def possible_figures(wildcards):
    """Return the figures for which the configuration has the cohort and the runs."""
    names = sorted(path.stem for path in Path(repo("experiments")).glob("figure*.yaml"))
    return [f"results/{name}.png" for name in names if not figure_lacks(name)]


def reported_tables(wildcards):
    """Return the pages of all possible tables, those of tests last."""
    tables = [*possible_tables(wildcards), *possible_comparisons(wildcards)]
    return [Path(table).with_suffix(".md") for table in tables]


def reported_words(wildcards):
    """Return what the report says of each of `possible_figures`."""
    return [Path(png).with_suffix(".json") for png in possible_figures(wildcards)]


def figure_cohort(name):
    if figure_lacks(name):
        raise WorkflowError(f"experiments/{name}.yaml needs {', '.join(figure_lacks(name))} in the configuration")
    return config["roles"][figure(name).cohort]


def figure_inputs(wildcards):
    """Return the files that a figure is drawn from, by the names that its kind gives them."""
    spec, cohort = figure(wildcards.figure), figure_cohort(wildcards.figure)
    labels = {
        "participants": f"results/{cohort}/participants.tsv",
        "folds": f"results/{cohort}/folds.tsv",
    }
    if spec.figure == "embedding_map":
        return {"features": run_path(cohort, spec.run, "features"), **labels}
    if spec.figure == "landmark_importance":
        atlas = config["runs"][spec.run]["atlas"]
        return {
            "features": run_path(cohort, spec.run, "features"),
            "atlas": f"results/atlases/{atlas}/lung_mask.nii.gz",
            **labels,
        }
    if spec.figure == "survival":
        return {"survival": run_path(cohort, spec.run, f"eval/survival-{spec.variant}.json")}
    if spec.figure == "annotation_efficiency":
        subtypes = ("centrilobular", "paraseptal")
        return {"transfer": [run_path(cohort, spec.run, f"transfer/{name}.json") for name in subtypes]}
    if spec.figure == "patch_neighbours":
        return neighbours_inputs(spec, cohort)
    summary = {"masks": run_path(cohort, spec.run, "dense.json")}
    if spec.figure == "emphysema_fraction":
        return {**summary, "linear": linear_masks(cohort)}
    ids = masked_ids(cohort)
    phantoms = {"phantom": [f"results/{cohort}/phantom/{id}" for id in ids]} if is_phantom(cohort) else {}
    return {
        **phantoms,
        **summary,
        "dense": [run_path(cohort, spec.run, f"dense/{id}") for id in ids],
        "ingest": [f"results/{cohort}/ingest/{id}" for id in ids],
        "segment": [f"results/{cohort}/segment/{id}" for id in ids],
    }


def neighbours_inputs(spec, cohort):
    """Return what the figure of nearest patches is drawn from; of phantoms also the true disease."""
    atlas = config["runs"][spec.run]["atlas"]
    aligned_to = f"results/{cohort}/{atlas}"
    inputs = {
        "features": run_path(cohort, spec.run, "features"),
        "reference": run_path(cohort, spec.reference, "features"),
        "bank": f"{aligned_to}/bank.zarr",
    }
    if not is_phantom(cohort):
        return inputs
    folders = {
        "disease": f"{aligned_to}/disease",
        "phantom": f"results/{cohort}/phantom",
        "ingest": f"results/{cohort}/ingest",
        "patches": f"{aligned_to}/patches",
    }
    every = {name: [f"{folder}/{id}" for id in rows(cohort)] for name, folder in folders.items()}
    return {**inputs, **every, "folds": f"results/{cohort}/folds.tsv"}


def figure_code(wildcards):
    drawing = KINDS[figure(wildcards.figure).figure].module
    numbers = (
        "evaluate/embedding_map",
        "evaluate/probes",
        "evaluate/readout",
        "evaluate/metrics",
        "detect/masks",
        "evaluate/disease_map",
        "evaluate/disease_probe",
        "figures/patches",
        "evaluate/retrieval",
        "report/tables_figures",
    )
    modules = ("figures/drawing", "config/figure_specs", f"figures/{drawing}", *numbers)
    spec = "experiments/{figure}.yaml"
    return code_of("make_figure", *modules, also=[spec])(wildcards)


def figure_settings(wildcards):
    """Return what a figure needs of the configuration, and the number of trainings of its run."""
    return {
        "seed": config["seed"],
        "readout": config["evaluation"]["readout"],
        "trainings": len(trainings(figure(wildcards.figure).run)),
    }


def landmarks_of(flow):
    """Return the landmarks of the atlas to which a cohort's flow leads."""
    return f"results/atlases/{Path(flow).parent.name}/landmarks.json"


def trained_runs():
    """Return the runs that have a learning curve."""
    settings = {run: pretrain_settings(config, run) for run in PRETRAINED_RUNS}
    return [run for run in PRETRAINED_RUNS if settings[run]["epochs"]]
