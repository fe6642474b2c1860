"""Emphysema subtypes, voxel by voxel."""
