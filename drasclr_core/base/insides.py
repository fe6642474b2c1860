"""The insides of another program: what lies there in one version may be gone in the next."""

import importlib
import logging
import os
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

PLAIN = "DRASCLR_PLAIN_SNAKEMAKE"
"""An environment variable: set, the workflow runs as if Snakemake had no insides."""


def reach(owner: Any, path: str, lost: str, default: Any = None) -> Any:
    """Return an attribute of an object, dots leading further in, or `default` and a warning of what is lost by it.

    Where the variable `PLAIN` is set that is so of every attribute, without a warning.
    """
    if os.environ.get(PLAIN):
        return default
    for name in path.split("."):
        try:
            owner = getattr(owner, name)
        except AttributeError:
            logger.warning("This version of Snakemake has no %s (%s): %s.", path, name, lost)
            return default
    return owner


def reach_module(module: str, path: str, lost: str) -> Any:
    """Return what lies in a module, as `reach` does; None and a warning where there is no such module either."""
    if os.environ.get(PLAIN):
        return None
    try:
        owner = importlib.import_module(module)
    except ImportError:
        logger.warning("This version of Snakemake has no %s: %s.", module, lost)
        return None
    return reach(owner, path, lost)


def remember(module: str, path: str, lost: str) -> None:
    """Let a function of a module, or of a class there, keep its answers."""
    *owner, name = path.split(".")
    function = reach_module(module, path, lost)
    if function is not None:
        place = importlib.import_module(module)
        setattr(getattr(place, owner[0]) if owner else place, name, cache(function))
