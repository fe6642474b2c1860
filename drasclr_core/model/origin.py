"""What a model was trained on, in words, and what to mind where it is used on a scan."""

from collections.abc import Iterable, Mapping
from typing import Any

from drasclr_core.cohort.phantom_ids import is_phantom_id

TRAINED_ON = "trained_on"
"""The key of ``model.json``; folders of earlier versions lack it."""

_PLAY = "means nothing; it is for trying out only"


def origin_of(participant_ids: Iterable[str]) -> dict[str, int]:
    """Return how many of those that were trained on are phantoms, which their ids tell, and how many are people's."""
    phantom = [is_phantom_id(name) for name in participant_ids]
    return {"phantoms": sum(phantom), "participants": len(phantom) - sum(phantom)}


def told_origin(description: Mapping[str, Any]) -> str:
    """Return what the model of a ``model.json`` was trained on, in a few words."""
    if _is_untrained(description):
        return "nothing (its weights are the initial ones)"
    origin = _recorded(description)
    if "published" in origin:
        return str(origin["published"])
    kinds = {"phantoms": "synthetic phantom", "participants": "participant"}
    told = [f"{origin[key]:,} {kind}{'s' * (origin[key] > 1)}" for key, kind in kinds.items() if origin.get(key)]
    return " and ".join(told) or "what is not recorded"


def origin_warning(description: Mapping[str, Any]) -> str | None:
    """Return what must be said beside whatever such a model says of a scan; None where it was trained on people."""
    if _is_untrained(description):
        return f"this encoder is untrained: what it says of a scan {_PLAY}"
    origin = _recorded(description)
    if origin.get("participants") or "published" in origin:
        return None
    if origin.get("phantoms"):
        return f"this encoder was trained on {told_origin(description)}: what it says of a real scan {_PLAY}"
    return "its model.json does not say what this encoder was trained on: do not rely on what it says of a scan"


def _is_untrained(description: Mapping[str, Any]) -> bool:
    return bool(description.get("training", {}).get("epochs") == 0)


def _recorded(description: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is recorded; of a folder of an earlier version, what its participants tell."""
    found: Mapping[str, Any] = description.get(TRAINED_ON) or origin_of(description.get("participant_ids", []))
    return found
