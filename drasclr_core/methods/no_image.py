"""No image at all: no feature, so that a survival model has the confounders and clinical columns alone (Table 3).

A detector of it has the location of its window alone (`windows.window_locations`, Table 5).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError

if TYPE_CHECKING:
    from drasclr_core.atlas.subject import Subject

FITTED = "never"


class NoImage:
    """Zero features."""

    def fit(self, train: Sequence["Subject"], seed: int) -> None:
        """Learn nothing."""

    def embed(self, subject: "Subject") -> npt.NDArray[np.float32]:
        """Return the (0,) features."""
        return np.empty(0, dtype=np.float32)


def build(params: Mapping[str, Any]) -> NoImage:
    """Return the method; it takes no parameter."""
    if params:
        raise InputError(f"no_image takes no parameters, but was given {', '.join(params)}: remove them.")
    return NoImage()
