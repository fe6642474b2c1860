"""What of the settings of one training does not fit together."""

from collections.abc import Iterator
from typing import Any


def pretrain_faults(settings: dict[str, Any], prefix: str, listed: int) -> Iterator[str]:
    """Yield what does not fit together, each with the keys.

    Parameters
    ----------
    settings : dict
        As of `checks.pretrain_settings`.
    prefix : str
        The section that the faults are told of.
    listed : int
        Neighbours of a landmark that the grid knows.
    """
    batch, groups = settings["batch_size"], settings["groups"]
    if batch % groups:
        yield f"{prefix}: groups ({groups}) does not divide batch_size ({batch})"
    elif settings["epochs"] and batch == groups:
        yield f"{prefix}: batch_size ({batch}) leaves one subject to each of the groups ({groups}): statistics need two"
    yield from _contrast_faults(settings, prefix)
    limit, margin = settings["time_limit_minutes"], settings["margin_minutes"]
    if limit is not None and margin >= limit:
        yield f"{prefix}: margin_minutes ({margin}) leaves nothing of time_limit_minutes ({limit})"
    if settings["neighbours"] > listed:
        yield f"{prefix}: neighbours ({settings['neighbours']}) is more than landmarks.neighbours ({listed})"
    yield from _machine_faults(settings, prefix)


def _contrast_faults(settings: dict[str, Any], prefix: str) -> Iterator[str]:
    if settings["negatives"] == "batch":
        if settings["queues"] == "global":
            yield f"{prefix}: queues (global) needs a queue, but negatives is batch: use negatives: queue in its params"
    elif settings["key_momentum"] is None:
        yield f"{prefix}: key_momentum (null) leaves no encoder to fill a queue: use negatives: batch, or a momentum"
    elif settings["batch_size"] > settings["queue_size"]:
        yield f"{prefix}: queue_size ({settings['queue_size']}) is less than one batch ({settings['batch_size']})"
    low, high = settings["view_gamma"]
    if low > high:
        yield f"{prefix}: view_gamma ({low}, {high}) must begin with the smaller exponent"


def _machine_faults(settings: dict[str, Any], prefix: str) -> Iterator[str]:
    groups, processes, nodes = (settings[key] for key in ("groups", "processes", "nodes"))
    if groups % processes:
        yield f"{prefix}: processes ({processes}) does not divide groups ({groups})"
    if processes % nodes:
        yield f"{prefix}: nodes ({nodes}) does not divide processes ({processes})"
    if settings["epochs"] and settings["device"] == "cpu" and settings["precision"] == "bfloat16":
        yield f"{prefix}: precision (bfloat16) needs a GPU, but device is cpu: use float32"
