"""The two errors that are the user's to mend; every other exception is a bug or a broken machine."""


class InputError(Exception):
    """The user's data or configuration cannot be used.

    The message names the file or key, the value, what is allowed, and what to do.
    """


class QualityError(Exception):
    """One subject's data is readable but not good enough; the message gives the measurement and its limit."""


_MACHINE_WORDS = ("allocat", "out of memory", "no space left", "input/output error", "too many open files")


def is_machine_fault(error: Exception) -> bool:
    """Return whether a library's error tells of memory or disk: such a job fails, and its subject is not excluded."""
    return any(word in str(error).lower() for word in _MACHINE_WORDS)
