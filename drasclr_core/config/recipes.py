"""What a training learns with, by the size of its cohort.

The paper's settings suit its 9,180 subjects: a key encoder that hardly moves, a queue of 4,096 keys per landmark, views
of strongly varying contrast. With few subjects a landmark is visited for a few steps in all, and they collapse or learn
little (docs/learning.md). Every setting here can also be given in the section `pretrain` or by a run, and then counts.
"""

from collections.abc import Mapping
from typing import Any

from drasclr_core.config.settings import PretrainSettings

SMALL_BELOW = 2000
"""`auto` takes `small` for cohorts of fewer participants. It was measured at 40 to 160; the paper had 9,180."""

_NAMES = (
    *("view_shift_mm", "view_rotation_deg", "view_scale", "view_noise_hu", "view_noise_probability"),
    *("view_gamma", "view_gamma_probability", "batch_size", "groups", "neighbours", "beta"),
    *("negatives", "queue_size", "queues", "mask_same_subject", "temperature", "key_momentum"),
    *("learning_rate", "warmup_steps", "momentum", "weight_decay", "visit_batches", "head_norm"),
)
_PAPER = {name: getattr(PretrainSettings(), name) for name in _NAMES}

RECIPES: dict[str, dict[str, Any]] = {
    "paper": _PAPER,
    "small": {
        **_PAPER,
        "view_gamma": [1.0, 1.0],
        "view_gamma_probability": 0.0,
        "batch_size": 32,
        "groups": 1,
        "neighbours": 0,
        "negatives": "batch",
        "queue_size": 128,
        "key_momentum": None,
        "learning_rate": 0.1,
        "warmup_steps": 20,
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
        As `checks.check_config` accepts it; not changed.
    participants : mapping
        Cohort -> participants without an exclude_reason, of the cohorts that encoders are trained on.
    """
    section = config["pretrain"]
    name = recipe_by_size(min(participants.values())) if section["recipe"] == "auto" else section["recipe"]
    return {**config, "pretrain": {**section, "recipe": name}}
