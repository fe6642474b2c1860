"""An encoder trained by the pretrain stage, on all subjects and without labels; the paper's method and its ablations.

`patch-moco` and `untrained` are runs of this method with other parameters.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from drasclr_core.model.embed_bank import embed_locations, subject_features
from drasclr_core.model.folder import load_model

if TYPE_CHECKING:
    from drasclr_core.atlas.subject import Subject

FITTED = "pretrained"


class PretrainedEncoder:
    """The mean feature over a subject's valid landmarks (paper section 2.5, equation 11).

    Parameters
    ----------
    model : str
        A model folder.
    """

    def __init__(self, model: str) -> None:
        self.model = load_model(model)

    def fit(self, train: Sequence["Subject"], seed: int) -> None:
        """Do nothing: the encoder was trained before."""

    def embed(self, subject: "Subject") -> npt.NDArray[np.float32]:
        """Return the (F,) float32 features of one subject."""
        codes = torch.from_numpy(self.model.grid.codes).float()
        features = embed_locations(subject.patches, codes, self.model.encoder)
        return subject_features(features[None], subject.valid[:, None])[0]


def build(params: Mapping[str, Any]) -> PretrainedEncoder:
    """Return the method; its one parameter is ``model``, a model folder."""
    return PretrainedEncoder(**params)
