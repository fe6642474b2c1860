"""A finished study in another place, of another date, or with another comment: nothing is to be done."""

import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from workflow_run import ROOT, changed, pretend_by, succeeded, tiny_config

TARGETS = ("results/table2.csv", "results/known_truth.csv", "report")
CONFIG = changed(tiny_config(), {"cohorts.phantom.phantom.subjects": 4, "cohorts.unseen.phantom.subjects": 2})
FOLDERS = ("drasclr_core", "rules", "workflow_scripts", "experiments", "schemas", "profiles", "envs")


def snakemake_in(checkout, *arguments):
    """Run Snakemake in a checkout as the README says; return the finished process."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = {**os.environ, "PATH": os.defpath, "PYTHONPATH": str(checkout)}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, encoding="utf-8", check=False)


def plan(checkout):
    return succeeded(snakemake_in(checkout, "--dry-run", *TARGETS))


def nothing_to_do(checkout):
    return "Nothing to be done" in plan(checkout)


def copy_code(checkout, preserve=True):
    copy = shutil.copy2 if preserve else shutil.copy
    for name in FOLDERS:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, copy_function=copy, ignore=skip, dirs_exist_ok=True)
    copy(ROOT / "Snakefile", checkout / "Snakefile")
    (checkout / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A checkout in which the workflow has ended, to Snakemake's knowledge."""
    checkout = tmp_path_factory.mktemp("study") / "checkout"
    copy_code(checkout)
    pretend_by(partial(snakemake_in, checkout), checkout, *TARGETS)
    assert nothing_to_do(checkout)
    return checkout


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it in another place, with its dates."""
    return shutil.copytree(finished, tmp_path / "copy", symlinks=True, copy_function=shutil.copy2)


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_copy_has_nothing_to_do(copied):
    assert nothing_to_do(copied)


def test_a_moved_one_has_nothing_to_do(copied, tmp_path):
    copied.rename(tmp_path / "moved")
    assert nothing_to_do(tmp_path / "moved")


def test_a_link_to_it_has_nothing_to_do(finished, tmp_path):
    (tmp_path / "link").symlink_to(finished)
    assert nothing_to_do(tmp_path / "link")


def test_a_clone_that_is_given_the_results_has_nothing_to_do(finished, tmp_path):
    clone = tmp_path / "clone"
    for name in ("results", ".snakemake"):
        shutil.copytree(finished / name, clone / name, copy_function=shutil.copy2)
    time.sleep(0.01)
    copy_code(clone, preserve=False)  # newer than every result, as git writes them
    assert nothing_to_do(clone)


def test_touched_files_are_nothing_to_do(copied):
    for path in [copied / "Snakefile", *(path for name in FOLDERS for path in (copied / name).rglob("*"))]:
        os.utime(path)
    assert nothing_to_do(copied)


def test_comments_are_nothing_to_do(copied):
    for path in [*copied.glob("drasclr_core/**/*.py"), *copied.glob("workflow_scripts/*.py")]:
        path.write_text(f"# A comment.\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    for path in copied.glob("experiments/*.yaml"):
        path.write_text(f"{path.read_text(encoding='utf-8')}# A comment.\n", encoding="utf-8")
    assert nothing_to_do(copied)


def test_code_that_says_something_else_is_run_again_and_nothing_trained(copied):
    edit(copied / "drasclr_core/report/tables.py", "\nimport ", "\nNEW = 1\nimport ")
    edit(copied / "experiments/table2.yaml", 'title: "', 'title: "New ')
    edit(copied / "workflow_scripts/probe_disease.py", "def main", "NEW = 1\n\n\ndef main")
    edit(copied / "drasclr_core/atlas/landmarks.py", "\nimport ", "\nNEW = 1\nimport ")  # counts by a version
    edit(copied / "drasclr_core/train/loop.py", "\nimport ", "\nNEW = 1\nimport ")
    output = plan(copied)
    planned = {line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith(("rule ", "localrule "))}
    tables = {"make_table", "make_significance", "make_report", "report"}
    assert planned == tables | {"probe_disease", "make_known_truth"}


def test_every_result_counts_its_code_by_content_or_by_a_version():
    for path in Path(ROOT, "rules").glob("*.smk"):
        for rule in path.read_text(encoding="utf-8").split("\nrule ")[1:]:
            if "    output:" in rule:
                told = [name for name in ("code=", "version=", "job=training_job") if f"        {name}" in rule]
                assert len(told) == 1, rule
