"""The configuration: every check that a schema can and cannot make, and what the workflow derives from it.

Importing this module loads the standard library, PyYAML and jsonschema only: the Snakefile does it at every start.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from drasclr_core.base.documents import raise_faults, schema_faults
from drasclr_core.config.recipes import RECIPES
from drasclr_core.config.settings import EXTRA_DIM, TRUE_DISEASE
from drasclr_core.config.training_faults import pretrain_faults

Config = dict[str, Any]

STAGE_VERSIONS = {
    **{"simulate": 1, "ingest": 2, "segment": 3, "atlas": 1, "register": 3, "patches": 1},
    **{"flow": 1, "bank": 1, "pretrain": 5},
}
"""Raised when a stage's results change: what a training waits for, and the training, run again then, and only then."""

COHORT_VERSIONS = {"phantom": 2, "participants": 2, "folds": 2, "flow": 2}
"""The same for the tables of a cohort: apart from the others, which are part of an encoder's provenance."""

DETECTION_VERSIONS = {"boxes": 1, "finetune": 2, "mask": 2}
"""The same for the detectors."""

PRETRAINED = "drasclr"
"""The method that is trained by a stage of its own; every other is fitted when its features are made."""


UNSEEN = "unseen"
"""The role of phantoms that no training sees: the encoders of the cohort in the role copd embed them."""


def check_config(config: Config) -> None:
    """Check a whole configuration.

    Raises
    ------
    InputError
        Naming all faults at once, by dotted key. Faults across fields are looked for once the schema holds, those of
        trainings once their recipe is chosen.
    """
    faults = [*schema_faults(config, "config"), *_not_finite(config)]
    raise_faults("The configuration", faults or list(_cross_faults(config)))


def check_participants(
    config: Config,
    participants: Mapping[str, Mapping[str, str]],
    persons: Mapping[str, Mapping[str, str] | None] | None = None,
) -> None:
    """Check the configuration against the cohorts' participants, before any of them is read.

    Parameters
    ----------
    config : dict
        As `recipes.with_recipe` returns it.
    participants : mapping
        Cohort -> participant id -> exclude_reason, empty if there is none; of `studied_cohorts` and of those that lend
        an atlas.
    persons : mapping, optional
        Cohort -> participant id -> person, None where each participant is one. By default that is so everywhere.

    Raises
    ------
    InputError
        Naming every atlas whose participant is missing or excluded, every cohort too small for the folds or for a
        batch, and what of a training does not fit together.
    """
    faults = [*_lender_faults(config, participants), *_size_faults(config, participants, persons or {})]
    faults += _training_faults(config)
    raise_faults("The configuration", faults)


def _lender_faults(config: Config, participants: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, atlas in config["atlases"].items():
        if "cohort" not in atlas:
            continue
        lender, cohort = atlas["participant"], atlas["cohort"]
        if lender not in participants[cohort]:
            yield f"atlases.{name}.participant: '{lender}' is not in the cohort {cohort}"
        elif participants[cohort][lender]:
            yield f"atlases.{name}.participant: '{lender}' has an exclude_reason in the cohort {cohort}; choose another"


def _size_faults(
    config: Config,
    participants: Mapping[str, Mapping[str, str]],
    persons: Mapping[str, Mapping[str, str] | None],
) -> Iterator[str]:
    for cohort in studied_cohorts(config):
        shared = persons.get(cohort)
        count, kind = (len(set(shared.values())), "persons") if shared else (len(participants[cohort]), "participants")
        if config["evaluation"]["folds"] > count:
            yield f"evaluation.folds: {config['evaluation']['folds']}, but {cohort} has {count} {kind}"
        stay = sum(not reason for reason in participants[cohort].values())
        for run in config["runs"]:
            settings = pretrain_settings(config, run) if is_pretrained(config, run) else {"epochs": 0}
            if settings["epochs"] and settings["batch_size"] > stay:
                has = f"{cohort} has {stay} participants without an exclude_reason"
                yield f"runs.{run}: batch_size {settings['batch_size']}, but {has}"


def studied_cohorts(config: Config) -> list[str]:
    """Return the cohorts that play a role in an experiment; encoders are trained on each of them."""
    return sorted({cohort for role, cohort in config["roles"].items() if role != UNSEEN})


def digest(content: Any) -> str:
    """Return 16 hexadecimal digits that stand for JSON content, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def training_names(config: Config, run: str) -> list[str]:
    """Return the names of a run's trainings, in the order of its seeds; of a method that is not trained the run's own.

    A training's name is where its results stand: the run's own name for the first seed, so that more of them move
    nothing, and ``{run}/seed-{seed}`` for the others. The functions below take either.
    """
    return [run, *(f"{run}/seed-{seed}" for seed in _seeds(config, run)[1:])]


def every_training(config: Config) -> list[str]:
    """Return the names of all trainings and of the runs without one; what bears the name of a run comes first."""
    names = [name for run in config["runs"] for name in training_names(config, run)]
    return sorted(names, key=lambda name: name not in config["runs"])


def run_of(training: str) -> str:
    """Return the run of a training."""
    return training.partition("/")[0]


def training_seed(config: Config, training: str) -> int:
    """Return the seed of a training: of its initialisation, its order and its views."""
    run = run_of(training)
    return _seeds(config, run)[training_names(config, run).index(training)]


def _seeds(config: Config, run: str) -> list[int]:
    seeds: list[int] = config["runs"][run].get("seeds", [0])
    return seeds


def pretrain_settings(config: Config, training: str) -> dict[str, Any]:
    """Return the settings of a training: its recipe, the section `pretrain`, the overrides of its run, its seed.

    The recipe must be chosen (`recipes.with_recipe`).
    """
    params = config["runs"][run_of(training)].get("params", {})
    given = {**config["pretrain"], **params}
    recipe = RECIPES[given.pop("recipe")]
    return {"seed": training_seed(config, training), **recipe, **given}


def features_dim(config: Config, training: str) -> int:
    """Return the length of a training's features: `encoder.Encoder.output_dim`, for which PyTorch would be loaded."""
    return int(pretrain_settings(config, training)["feature_dim"]) + EXTRA_DIM[config["embedding"]["features"]]


def is_pretrained(config: Config, training: str) -> bool:
    """Return whether a run trains an encoder."""
    return bool(config["runs"][run_of(training)]["method"] == PRETRAINED)


def same_run(config: Config, training: str) -> str:
    """Return the first training of the configuration that is the same but for its name: it is done once."""
    return next(name for name in every_training(config) if _essence(config, name) == _essence(config, training))


def _essence(config: Config, training: str) -> Any:
    content = config["runs"][run_of(training)]
    params = pretrain_settings(config, training) if is_pretrained(config, training) else content.get("params", {})
    return content["method"], content["atlas"], params


def _not_finite(content: Any, key: str = "") -> Iterator[str]:
    """Yield the keys of NaN and infinities: YAML has them, and they pass every limit of a schema."""
    if isinstance(content, float) and not math.isfinite(content):
        yield f"{key}: {content} is not a finite number"
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, child in children:
        yield from _not_finite(child, f"{key}.{name}" if key else str(name))


def _cross_faults(config: Config) -> Iterator[str]:
    yield from _name_faults(config)
    yield from _atlas_faults(config)
    yield from _unseen_faults(config)
    if config["segmentation"]["method"] == "lungmask" and not config["segmentation"]["weights"]:
        yield "segmentation.weights: lungmask needs a file; `drasclr fetch-weights` downloads it and prints its path"
    for name, cohort in config["cohorts"].items():
        if "boxes" in cohort and "ingest" not in config["storage"]["keep"]:
            yield f"storage.keep: must name ingest, for the detectors of cohorts.{name}.boxes read the scans late"
    if config["pretrain"]["recipe"] != "auto":
        yield from _training_faults(config)


def _training_faults(config: Config) -> Iterator[str]:
    for run in config["runs"]:
        if is_pretrained(config, run):
            params = config["runs"][run].get("params", {})
            prefix = f"runs.{run}.params" if params else "pretrain"
            settings = pretrain_settings(config, run)
            yield from pretrain_faults(settings, prefix, config["landmarks"]["neighbours"])
            yield from _probe_faults(config, settings, prefix)


def _name_faults(config: Config) -> Iterator[str]:
    if "atlases" in config["cohorts"]:
        yield "cohorts.atlases: the name is taken by the folder results/atlases; choose another"
    for name in sorted({"phantom", "ingest", "segment"} & set(config["atlases"])):
        yield f"atlases.{name}: the name is taken by a stage's folder; choose another"
    for role, cohort in config["roles"].items():
        if cohort not in config["cohorts"]:
            yield f"roles.{role}: '{cohort}' is not one of cohorts ({', '.join(config['cohorts'])})"
    for run, content in config["runs"].items():
        if content["atlas"] not in config["atlases"]:
            yield f"runs.{run}.atlas: '{content['atlas']}' is not one of atlases ({', '.join(config['atlases'])})"
        if "seeds" in content and not is_pretrained(config, run):
            yield f"runs.{run}.seeds: only runs of the method {PRETRAINED} are trained; remove the key"


def _unseen_faults(config: Config) -> Iterator[str]:
    """Yield why the cohort in the role unseen cannot be what no training saw, and be probed."""
    name, trained = (config["roles"].get(role) for role in (UNSEEN, "copd"))
    if name not in config["cohorts"]:  # none is wanted, or it is a fault already
        return
    phantom, other = (config["cohorts"].get(cohort, {}).get("phantom") for cohort in (name, trained))
    if not phantom or not other:
        role, cohort = (UNSEEN, name) if not phantom else ("copd", trained)
        needs = "only a phantom's true disease is known: name a phantom cohort there"
        yield f"roles.{UNSEEN}: roles.{role} is {cohort}, and {needs}, or remove roles.{UNSEEN}"
        return
    last = min(_phantom_numbers(phantom)[-1], _phantom_numbers(other)[-1])
    if max(phantom.get("first", 1), other.get("first", 1)) <= last:
        beyond = _phantom_numbers(other)[-1] + 1
        yield f"roles.{UNSEEN}: {name} shares phantom {last} with {trained}; let its phantom.first be {beyond} or more"
    elif name in studied_cohorts(config):
        yield f"roles.{UNSEEN}: encoders are trained on {name}, for it has another role too; name another cohort"
    if config["evaluation"]["folds"] > phantom["subjects"]:
        yield f"evaluation.folds: {config['evaluation']['folds']}, but {name} has {phantom['subjects']} participants"


def _phantom_numbers(phantom: dict[str, Any]) -> range:
    first = phantom.get("first", 1)
    return range(first, first + phantom["subjects"])


def _atlas_faults(config: Config) -> Iterator[str]:
    for name, atlas in config["atlases"].items():
        if atlas.get("cohort", "") and atlas["cohort"] not in config["cohorts"]:
            yield f"atlases.{name}.cohort: '{atlas['cohort']}' is not one of cohorts ({', '.join(config['cohorts'])})"
        released = atlas.get("convention", "centre") == "released"
        if released != (config["preprocess"]["axes"] == "LAS"):
            yield f"preprocess.axes: must be LAS with the convention released, LPS else (atlases.{name}.convention)"


def _probe_faults(config: Config, settings: dict[str, Any], prefix: str) -> Iterator[str]:
    if not settings["probe_steps"] or not settings["probe_task"].startswith(TRUE_DISEASE):
        return
    others = [cohort for cohort in studied_cohorts(config) if "phantom" not in config["cohorts"][cohort]]
    if others:
        yield f"{prefix}: probe_task ({settings['probe_task']}) needs phantoms, and cohorts.{others[0]} is none"
    lacking = sorted({"phantom", "ingest", "patches"} - set(config["storage"]["keep"]))
    if lacking:
        yield f"{prefix}: probe_task ({settings['probe_task']}) needs {', '.join(lacking)} in storage.keep"
