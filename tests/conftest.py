"""Settings that hold for every test."""

import locale
import os
from pathlib import Path

import pytest
from workflow_run import ROOT, snakemake, succeeded, tiny_config
from xdist.scheduler import LoadScopeScheduling

# Two test processes on two cores must not fight over threads; set before numpy and torch start theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class SharedFixturesTogether(LoadScopeScheduling):
    """Gives one of several processes whole modules, all that use the finished workflow, and all of the cluster's."""

    def _split_scope(self, nodeid):
        module = nodeid.partition("::")[0]
        if module.startswith("tests/slurm/"):
            return "slurm"
        return "finished" if "(finished" in (ROOT / module).read_text(encoding="utf-8") else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # by the number of tests: the cluster's, which take longest, would come last
    return SharedFixturesTogether(config, log)


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
    told = succeeded(snakemake(folder, tiny_config(), "results/table2.csv"))
    if "Nothing to be done" not in told:
        (folder / "terminal.txt").write_text(told)
    return folder
