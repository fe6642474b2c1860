"""The documented place of what lies in `atlas.registration`."""

from drasclr_core.atlas.registration import register_to_atlas

__all__ = ["register_to_atlas"]
