"""The documented place of what lies in `model.released`."""

from drasclr_core.model.released import load_released_encoder

__all__ = ["load_released_encoder"]
