"""Architectures, model folders, and features by them."""
