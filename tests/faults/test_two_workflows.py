"""Two workflows on the same results: the second refuses, and changes nothing."""

import os
import re
import signal
import time

import pytest
from fault_contents import contents
from fault_workflow import Workflow
from workflow_run import tiny_config

pytestmark = pytest.mark.workflow

REFUSED = r"Another workflow writes to .*/first/results \(process \d+ on .*\): wait for it or end it, then start again"
OTHER = "results/phantom/folds.tsv"
"""Made by no job of the first workflow's target: Snakemake's lock lets a second one make it."""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A workflow that has begun to write results, and stands still."""
    workflow = Workflow(tmp_path_factory.mktemp("two") / "first", tiny_config(), None)
    output = workflow.folder / "output.txt"
    process = workflow.start(output, "preprocess")
    while "rule simulate_scan" not in output.read_text():
        assert process.poll() is None, output.read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGSTOP)
    yield workflow
    workflow.kill_all(process)


def refusal(workflow, *arguments, directory=None):
    """Start a second one; return what it says, having seen that it fails and leaves the results alone."""
    before = contents(workflow.folder / "results")
    process = workflow.run(*arguments, directory=directory)
    assert process.returncode != 0
    assert contents(workflow.folder / "results") == before
    output = process.stdout + process.stderr
    assert "Traceback" not in output
    return " ".join(output.split())


def test_of_the_same_target_in_the_same_folder(first):
    assert "Directory cannot be locked" in refusal(first, "preprocess")


@pytest.mark.parametrize("arguments", [(OTHER,), ("preprocess", "--nolock")], ids=["other target", "nolock"])
def test_that_snakemake_would_let_through(first, arguments):
    assert re.search(REFUSED, refusal(first, *arguments))


def test_in_another_folder_with_a_link_to_the_results(first):
    second = first.folder.parent / "second"
    second.mkdir()
    (second / "results").symlink_to(first.folder / "results")
    assert re.search(REFUSED, refusal(first, "preprocess", directory=second))
