"""LAA-950, the clinical descriptor: the share of lung voxels below -950 HU, on the scan's native grid."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError

if TYPE_CHECKING:
    from drasclr_core.atlas.subject import Subject

FITTED = "never"


class Laa950:
    """One feature: low-attenuation area in percent, as the segment stage measured it."""

    def fit(self, train: Sequence["Subject"], seed: int) -> None:
        """Learn nothing."""

    def embed(self, subject: "Subject") -> npt.NDArray[np.float32]:
        """Return the (1,) low-attenuation area, in percent.

        Raises
        ------
        InputError
            If the subject's segment record has no `laa950_pct`.
        """
        value = subject.record("segment").metrics.get("laa950_pct")
        if value is None:
            raise InputError(f"{subject.participant_id}: the segment record has no laa950_pct; segment the scan again.")
        return np.array([value], dtype=np.float32)


def build(params: Mapping[str, Any]) -> Laa950:
    """Return the method; it takes no parameter."""
    if params:
        raise InputError(f"laa950 takes no parameters, but was given {', '.join(params)}: remove them.")
    return Laa950()
