"""The documented place of what lies in `base.errors`."""

from drasclr_core.base.errors import InputError, QualityError

__all__ = ["InputError", "QualityError"]
