"""Counts and lists in sentences."""

from collections.abc import Iterable

_EXAMPLES = 5


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return "1 folder", "2 folders"; a plural that is not the noun and an s is given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def examples(items: Iterable[str]) -> str:
    """Return the first few of many, and how many more there are."""
    shown = list(items)
    more = f" and {len(shown) - _EXAMPLES} more" if len(shown) > _EXAMPLES else ""
    return ", ".join(shown[:_EXAMPLES]) + more
