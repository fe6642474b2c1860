"""The two errors that are the user's to mend; every other exception is a bug or a broken machine."""


class InputError(Exception):
    """The user's data or configuration cannot be used.

    The message names the file or key, the value, what is allowed, and what to do.
    """


class QualityError(Exception):
    """One subject's data is readable but not good enough; the message gives the measurement and its limit."""
