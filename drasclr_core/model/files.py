"""The files of a model folder, and their sums."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drasclr_core.base.errors import DamagedError, InputError
from drasclr_core.base.files import atomic_path, file_sha256, read_json
from drasclr_core.config.checks import digest

logger = logging.getLogger(__name__)

WEIGHTS, DESCRIPTION, LANDMARKS, ATLAS = "encoder.safetensors", "model.json", "landmarks.json", "lung_mask.nii.gz"
SUMS = "SHA256SUMS"
"""The sha256 of the four others, as ``sha256sum --check`` reads them."""
COPY_AGAIN = "Copy the whole folder again; where a workflow made it, remove it, and the same command makes it again."
DETECTOR = "detector.json"
"""What a folder of detectors holds in place of the others."""

PARTS = (WEIGHTS, DESCRIPTION, LANDMARKS, ATLAS)
DESCRIBED = (WEIGHTS, LANDMARKS, ATLAS)
"""Those whose sums stand in the description too."""


SELF = "digest"
"""The key of the description that tells whether the rest of it was changed: its sums may be away for a while."""


def self_digest(description: Mapping[str, Any]) -> str:
    """Return what a description has under `SELF`: the digest of all else."""
    return digest({name: value for name, value in description.items() if name != SELF})


def sums_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return file -> its sha256."""
    return {name: file_sha256(folder / name) for name in names}


def write_sums(folder: Path, names: Iterable[str] = PARTS) -> None:
    """Write the sums of a whole model folder, or of other files of a folder."""
    with atomic_path(folder / SUMS) as partial:
        lines = [f"{sum_}  {name}\n" for name, sum_ in sums_of(folder, names).items()]
        partial.write_text("".join(lines), encoding="utf-8")


def checked_sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file, once they are those that were written.

    Raises
    ------
    InputError
        If a file is another one. A folder without sums is accepted with a warning.
    """
    found = sums_of(folder, PARTS)
    if not (folder / SUMS).is_file():
        why = "it is of an earlier version, or another training is to replace it"
        logger.warning("%s has no %s (%s): its files are not checked.", folder, SUMS, why)
        return found
    lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, sum_ in found.items():
        if sum_ != expected.get(name):
            raise InputError(
                f"{folder / name} is not the file that was written: its sha256 is {sum_}, {SUMS} says "
                f"{expected.get(name, 'nothing of it')}. {COPY_AGAIN}"
            )
    return found


def is_made_from(folder: Path, made_from: str) -> bool:
    """Return whether a folder holds, undamaged, the model with this ``made_from`` in its description; sums may lack."""
    try:
        description = read_json(folder / DESCRIPTION)
        if description.get("made_from") != made_from or description["sha256"] != sums_of(folder, DESCRIBED):
            return False
        if description.get(SELF, self_digest(description)) != self_digest(description):
            return False
        if (folder / SUMS).is_file():
            checked_sums(folder)
    except (FileNotFoundError, InputError, DamagedError):
        return False
    return True


def instead_of(folder: Path) -> str:
    """Say which folder was meant, of those that the workflow puts side by side."""
    if not folder.exists():
        return "There is no such folder: give `model` of a training's run."
    if (folder / "model" / DESCRIPTION).is_file():
        return f"It is a run: give {folder / 'model'}."
    if any(folder.glob(DETECTOR)) or any(folder.glob(f"*/{DETECTOR}")):
        return "It holds detectors: give the model that they were trained from, in the workflow `model` beside them."
    return "Give `model` of a training's run, the whole folder."
