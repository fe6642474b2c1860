"""DrasCLR: anatomy-aware features from unlabelled 3D lung CT (Yu et al., Medical Image Analysis 2024)."""

from pathlib import Path
from typing import TYPE_CHECKING

from drasclr_core.base.version import __version__ as __version__

if TYPE_CHECKING:
    from drasclr_core.config.settings import Features
    from drasclr_core.model.embed_scan import ScanModel


def load_model(folder: str | Path, features: "Features" = "last") -> "ScanModel":
    """Return the model of a folder, to embed scans: ``load_model(folder).embed(scan)``; see `folder.load_model`.

    Parameters
    ----------
    folder : path
    features : "last", "pooled" or "middle"
        Which of the encoder's features are read: those of the last layer alone, as in the paper; or these, and behind
        them mean and standard deviation over space of the activations of earlier ones.

    Raises
    ------
    InputError
        If there are no such features, or a file is missing, is not the one that was written, or does not fit the
        description.
    """
    from drasclr_core.model.embed_scan import load_model as load  # seconds of imports

    return load(folder, features)
