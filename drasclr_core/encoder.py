"""The documented place of what lies in `model.encoder`."""

from drasclr_core.model.encoder import Encoder

__all__ = ["Encoder"]
