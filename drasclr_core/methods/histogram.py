"""The mean intensity histogram of a subject's patches: what densities tell without any learning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError
from drasclr_core.evaluate.histograms import root_histograms

if TYPE_CHECKING:
    from drasclr_core.atlas.subject import Subject

FITTED = "never"


@dataclass(frozen=True)
class MeanHistogram:
    """Histograms of 30 bins; `scales` is 1, or up to 3 with means over 2 and over 4 voxels too."""

    scales: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.scales <= 3:
            raise InputError(f"histogram.scales is {self.scales}: choose a value from 1 to 3.")

    def fit(self, train: Sequence["Subject"], seed: int) -> None:
        """Learn nothing."""

    def embed(self, subject: "Subject") -> npt.NDArray[np.float32]:
        """Return the (30 * scales,) roots of shares, the mean over the valid patches.

        Raises
        ------
        InputError
            If the subject has no valid patch.
        """
        if not subject.valid.any():
            raise InputError(f"{subject.participant_id} has no valid patch: exclude it.")
        histograms = root_histograms(subject.patches[subject.valid], scales=self.scales)
        return np.asarray(histograms.mean(axis=0))


def build(params: Mapping[str, Any]) -> MeanHistogram:
    """Return the method; its one parameter is ``scales``."""
    if unknown := sorted(set(params) - {"scales"}):
        raise InputError(f"histogram has no parameter {', '.join(unknown)}; it has scales.")
    return MeanHistogram(**params)
