"""What a training learns with, by the size of its cohort.

The paper's settings suit its 9,180 subjects: a key encoder that hardly moves, a queue of 4,096 keys per landmark, views
of strongly varying contrast. With few subjects a landmark is visited for a few steps in all, and they collapse or learn
little (docs/learning.md). Every setting here can also be given in the section `pretrain` or by a run, and then counts.
"""

from collections.abc import Mapping
from typing import Any

SMALL_BELOW = 2000
"""`auto` takes `small` for cohorts of fewer participants. It was measured at 40 and 96; the paper had 9,180."""

_VIEWS = {
    "view_shift_mm": 12.0,
    "view_rotation_deg": 10.0,
    "view_scale": 0.1,
    "view_noise_hu": 50.0,
    "view_noise_probability": 0.25,
}

RECIPES: dict[str, dict[str, Any]] = {
    "paper": {
        **_VIEWS,
        "view_gamma": [0.5, 4.5],
        "view_gamma_probability": 0.25,
        "batch_size": 128,
        "groups": 4,
        "neighbours": 2,
        "beta": 1.0,
        "negatives": "queue",
        "queue_size": 4096,
        "queues": "landmark",
        "mask_same_subject": True,
        "temperature": 0.2,
        "key_momentum": 0.999,
        "learning_rate": 0.01,
        "warmup_steps": 0,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "visit_batches": None,
        "head_norm": False,
    },
    "small": {
        **_VIEWS,
        "view_gamma": [1.0, 1.0],
        "view_gamma_probability": 0.0,
        "batch_size": 32,
        "groups": 1,
        "neighbours": 0,
        "beta": 1.0,
        "negatives": "batch",
        "queue_size": 128,
        "queues": "landmark",
        "mask_same_subject": True,
        "temperature": 0.2,
        "key_momentum": None,
        "learning_rate": 0.03,
        "warmup_steps": 20,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "visit_batches": 1,
        "head_norm": True,
    },
}
"""Name -> settings, as `settings.PretrainSettings` has them."""


def recipe_by_size(subjects: int) -> str:
    """Return the name of the recipe for a cohort of so many participants."""
    return "small" if subjects < SMALL_BELOW else "paper"


def with_recipe(config: Mapping[str, Any], participants: Mapping[str, int]) -> dict[str, Any]:
    """Return a configuration whose recipe is chosen: `auto` by the smallest cohort that encoders are trained on.

    Parameters
    ----------
    config : dict
        As `config.check_config` accepts it; not changed.
    participants : mapping
        Cohort -> participants without an exclude_reason, of the cohorts that encoders are trained on.
    """
    section = config["pretrain"]
    name = recipe_by_size(min(participants.values())) if section["recipe"] == "auto" else section["recipe"]
    return {**config, "pretrain": {**section, "recipe": name}}
