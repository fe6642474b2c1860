"""Synthetic thoraces whose disease is known."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Hand on `simulate.simulate_subject`, its documented place; it costs imports that others here do without."""
    if name == "simulate_subject":
        from drasclr_core.phantom.simulate import simulate_subject

        return simulate_subject
    raise AttributeError(name)
