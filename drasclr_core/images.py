"""The documented place of what lies in `scan.images`."""

from drasclr_core.scan.images import read_ct

__all__ = ["read_ct"]
