"""Helpers of the emphysema detectors - boxes, the subjects they need, what is slid over. Functions only here."""

import math
import random

from drasclr_core.cohort.boxes import (
    WITHOUT_ENCODER,
    choose_healthy,
    healthy_ids,
    read_boxes,
)
from drasclr_core.config.checks import DETECTION_VERSIONS


def has_boxes(cohort):
    return is_phantom(cohort) or "boxes" in config["cohorts"][cohort]


def boxes_table(wildcards):
    if not has_boxes(wildcards.cohort):
        raise WorkflowError(f"Detectors need annotated boxes: name their table in cohorts.{wildcards.cohort}.boxes")
    if is_phantom(wildcards.cohort):
        return f"results/{wildcards.cohort}/phantom/boxes.tsv"
    return config["cohorts"][wildcards.cohort]["boxes"]


@cache
def boxed_ids(cohort):
    """Return whose scans the boxes and the healthy patches are cut from; of a phantom it is not known before."""
    if is_phantom(cohort) or not has_boxes(cohort):
        return list(rows(cohort))
    annotated = {box.participant_id for box in checked(read_boxes, config["cohorts"][cohort]["boxes"])}
    healthy = choose_healthy(healthy_ids(rows(cohort).values()), annotated, config["seed"])
    return sorted({*annotated, *healthy} & set(rows(cohort)))


def boxed(pattern):
    """Return an input function: `pattern` for every subject of `boxed_ids`."""

    def paths(wildcards):
        return expand(pattern, id=boxed_ids(wildcards.cohort), allow_missing=True)

    return paths


def detection_model(wildcards):
    """Return the run's model; none for what needs none."""
    if run_settings(wildcards.run)["method"] in WITHOUT_ENCODER:
        return []
    if not has_encoder(wildcards.run):
        raise WorkflowError(
            f"runs.{wildcards.run} cannot detect emphysema: it is neither a trained encoder nor one of {', '.join(WITHOUT_ENCODER)}"
        )
    return f"results/{wildcards.cohort}/{wildcards.atlas}/runs/{wildcards.run}/model/SHA256SUMS"


def finetuning(wildcards):
    """Return the settings of a fine-tuning, which is a training: its seed is that of the encoder that it starts from."""
    names = ("steps", "batch_size", "learning_rate", "momentum", "weight_decay")
    settings = {name: config["detection"][name] for name in names}
    seed = pretrain_settings(config, wildcards.run)["seed"]
    return {**settings, "shift_vox": config["detection"]["shift"], "seed": seed}


def box_sliding():
    """Return how a window is slid over a box, where it is computed, and what is read from it."""
    return {
        "stride": config["detection"]["stride"],
        "block": config["dense"]["block"],
        "threads": config["pretrain"]["cpu_threads"],
        "device": config["pretrain"]["device"],
        "features": config["detection"]["features"],
    }


def judged():
    """Return what every evaluation of patches says of itself."""
    return {"seed": config["seed"], "fold_count": config["evaluation"]["folds"]}


def masked_ids(cohort):
    """Return the subjects of the dense masks, as drawn: all whom the table does not exclude, or dense.subjects of them.

    Whom a stage will exclude is not known yet: for them there are spares, as many as the gate lets pass.
    """
    ids = sorted(id for id, row in rows(cohort).items() if not row.get("exclude_reason"))
    wanted = config["dense"]["subjects"]
    drawn = random.Random(config["seed"]).sample(ids, len(ids))
    passing = 1 - config["preprocess"]["max_excluded_fraction"]
    if wanted is None or wanted >= passing * len(ids):
        return drawn
    return drawn[: math.ceil(wanted / passing)]


def masked(pattern):
    """Return an input function: `pattern` for every subject of `masked_ids`."""

    def paths(wildcards):
        return expand(pattern, id=masked_ids(wildcards.cohort), allow_missing=True)

    return paths


def linear_masks(cohort):
    """Return the figures of masks that learnt nothing, or nothing before the boxes; none where no truth is known."""
    without = [
        run
        for run in config["runs"]
        if run_settings(run)["method"] in WITHOUT_ENCODER or (run == REFERENCE_RUN and has_encoder(run))
    ]
    runs = without if is_phantom(cohort) else []
    return [run_path(cohort, run, "dense-linear.json") for run in runs]
