"""Settings that hold for every test."""

import locale
import os

import pytest

# Two test processes on two cores must not fight over threads; set before numpy and torch start theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def same_locale():
    """Undo what writing DICOM as JPEG does: ITK sets the locale C, and Python reads text as ASCII from then on."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)
