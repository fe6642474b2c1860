"""Every scan of the corpus through the whole preprocessing: accepted as the clean one, or excluded for its own reason.

With DRASCLR_WRITE_ROBUSTNESS set, docs/robustness.md is written; else it must say what is found here.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hostile_page import EXCLUDED, PAGE, SCANS, fault, other_lines, page, scan_line, without_digits
from hostile_run import SPACING_MM, Preprocessing, ordinary_user

from drasclr_core.atlas.patches import map_points

logger = logging.getLogger(__name__)


class Corpus:
    """Runs each case once, when it is first asked for."""

    def __init__(self, folder):
        self.folder, self.preprocessing, self._found = folder, Preprocessing(folder), {}

    def found(self, name):
        """Return the outcome of a case, its fault, and its line of the page."""
        if name not in self._found:
            self._found[name] = self._run(name)
        return self._found[name]

    def _run(self, name):
        case, folder = SCANS[name], self.folder / name
        (folder / "out").mkdir(parents=True)
        (folder / "out").chmod(0o777)
        scan = case.make(folder)
        user = ordinary_user() if name.startswith("permissions") else contextlib.nullcontext()
        with user:
            outcome = self.preprocessing.run(scan, folder / "out")
        assert not [path for path in folder.rglob(".*") if path.parent == folder / "out"]
        deviation = None if outcome.features is None else self.preprocessing.deviation(outcome)
        logger.info("%s: deviation %s", name, deviation)
        line = scan_line(case, outcome, scan)
        shutil.rmtree(folder)
        return outcome, fault(case, outcome, deviation), line


@pytest.fixture(scope="module")
def corpus():
    # Not pytest's own folder, which other users may not enter: the case of the file's permissions needs one.
    with tempfile.TemporaryDirectory(prefix="drasclr-hostile-") as folder:
        os.chmod(folder, 0o755)
        yield Corpus(Path(folder))


def test_the_clean_scan_is_accepted_and_unlike_the_other(corpus):
    clean, other = corpus.preprocessing.clean, corpus.preprocessing.other
    assert not clean.excluded_by
    assert not other.excluded_by
    assert not clean.warnings
    assert corpus.preprocessing.deviation(other) == 1


@pytest.mark.parametrize("name", SCANS)
def test_a_case_ends_as_expected(corpus, name):
    _, found, _ = corpus.found(name)
    assert found == ""


def test_a_single_lung_is_placed_as_it_was_with_the_other(corpus):
    """It is registered by itself: its points lie where they do with both lungs, within a voxel on average."""
    points_mm = corpus.preprocessing.lung_points_mm(1)
    outcomes = corpus.found("one-lung")[0], corpus.preprocessing.clean
    single, clean = (map_points(outcome.transform, points_mm) for outcome in outcomes)
    away_mm = np.linalg.norm(single - clean, axis=1)
    logger.info("points of the single lung: %.1f mm off on average, %.1f mm at most", away_mm.mean(), away_mm.max())
    assert away_mm.mean() < SPACING_MM


def test_no_reason_serves_for_two_cases(corpus):
    reasons = {name: corpus.found(name)[0].reason for name in EXCLUDED}
    for name, case in EXCLUDED.items():
        assert [other for other, reason in reasons.items() if re.search(case.reason, reason)] == [name]


def test_the_page_is_what_is_found(corpus):
    lines = {name: corpus.found(name)[2] for name in SCANS} | other_lines()
    wrong = sum(bool(corpus.found(name)[1]) for name in SCANS)
    text = page(lines, len(lines) - wrong)
    if os.environ.get("DRASCLR_WRITE_ROBUSTNESS"):
        PAGE.write_text(text, encoding="utf-8")
    current = PAGE.read_text(encoding="utf-8").splitlines()
    assert [without_digits(line) for line in current] == [without_digits(line) for line in text.splitlines()]
