"""How a process uses the machine; to be said before PyTorch is imported."""

import getpass
import os


def share_machine() -> None:
    """Put large tensors into large pages (PyTorch), and let waiting threads give way soon (libgomp).

    Other work may share the cores. What the environment says already goes first.
    """
    os.environ |= {"THP_MEM_ALLOC_ENABLE": "1", "GOMP_SPINCOUNT": "3000"} | os.environ


def name_user() -> None:
    """Give this process a user's name where the user's number has none, as in containers: Snakemake asks for it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())
