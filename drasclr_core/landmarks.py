"""The documented place of what lies in `atlas.landmarks`."""

from drasclr_core.atlas.landmarks import LandmarkGrid, grid_landmarks, neighbours

__all__ = ["LandmarkGrid", "grid_landmarks", "neighbours"]
