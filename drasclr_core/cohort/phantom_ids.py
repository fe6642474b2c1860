"""The ids of phantoms, by which they are told from people.

The Snakefile imports this module at every start.
"""

import re
from collections.abc import Mapping
from typing import Any

from drasclr_core.base.errors import InputError

_PHANTOM_ID = re.compile(r"phantom-(\d{3,})")


def phantom_ids(subjects: int, first: int = 1) -> list[str]:
    """Return the ids of a phantom cohort, ``phantom-001`` first; a larger cohort begins with the smaller one's ids.

    Another `first` number begins elsewhere in the same endless row of phantoms.
    """
    if subjects < 1:
        raise InputError(f"subjects: {subjects} is too small; a phantom cohort has 1 subject or more")
    return [_phantom_id(number) for number in range(first, first + subjects)]


def phantoms_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the ids of a phantom cohort as the configuration describes it: ``subjects``, optionally ``first``."""
    return phantom_ids(settings["subjects"], settings.get("first", 1))


def phantom_index(participant_id: str) -> int:
    """Return the place of a phantom participant in its cohort, counted from 0.

    Raises
    ------
    InputError
        If `participant_id` is not one of those that `phantom_ids` gives.
    """
    if not is_phantom_id(participant_id):
        raise InputError(f"'{participant_id}' is not a phantom's id; allowed are phantom-001, phantom-002 and so on")
    return _phantom_number(participant_id) - 1


def is_phantom_id(participant_id: str) -> bool:
    """Return whether an id is one of those that `phantom_ids` gives."""
    number = _phantom_number(participant_id)
    return number > 0 and _phantom_id(number) == participant_id


def _phantom_id(number: int) -> str:
    return f"phantom-{number:03d}"


def _phantom_number(participant_id: str) -> int:
    match = _PHANTOM_ID.fullmatch(participant_id)
    return int(match[1]) if match else 0
