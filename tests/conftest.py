"""Settings that hold for every test."""

import locale
import os
from pathlib import Path

import pytest
from workflow_run import snakemake, succeeded, tiny_config

# Two test processes on two cores must not fight over threads; set before numpy and torch start theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep in one of several processes what shares a costly fixture: a module, the finished workflow, the cluster."""
    for item in items:
        shared = "finished" if "finished" in item.fixturenames else item.path.name
        group = "slurm" if item.path.parent.name == "slurm" else shared
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True)
def same_locale():
    """Undo what writing DICOM as JPEG does: ITK sets the locale C, and Python reads text as ASCII from then on."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder in which the workflow has made Table 2 of a tiny cohort; not to be changed.

    DRASCLR_FINISHED names a folder that is kept, for tests in several parts.
    """
    kept = os.environ.get("DRASCLR_FINISHED")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("finished")
    succeeded(snakemake(folder, tiny_config(), "results/table2.csv"))
    return folder
