"""The documented place of what lies in `model.layers`."""

from drasclr_core.model.layers import LocCondConv3d

__all__ = ["LocCondConv3d"]
