"""docs/robustness.md: every case of the corpus, what was expected of it, and what became of it."""

import re

import hostile_accepted
import hostile_excluded
import hostile_job
import hostile_series
import hostile_start
from hostile_case import NEAR, NO_COMPARISON, RESAMPLED, SAME
from workflow_run import ROOT

PAGE = ROOT / "docs" / "robustness.md"
ACCEPTED = {**hostile_accepted.FILES, **hostile_series.ACCEPTED}
EXCLUDED = {
    **hostile_excluded.FORMATS,
    **hostile_excluded.VALUES,
    **hostile_excluded.GEOMETRY,
    **hostile_excluded.ANATOMY,
    **hostile_series.EXCLUDED,
}
GATED = hostile_accepted.GATED
SCANS = {**ACCEPTED, **GATED, **EXCLUDED}
STARTS = {**hostile_start.CONFIG_FAULTS, **hostile_start.ROW_FAULTS, **hostile_start.TABLE_FAULTS}

_TOLERANCES = {
    SAME: "features bit for bit as of the clean scan",
    NEAR: f"features within {NEAR:.0%}",
    RESAMPLED: f"features within {RESAMPLED:.0%}",
    NO_COMPARISON: "accepted",
}


def fault(case, outcome, deviation):
    """Return in which way an outcome is not the expected one; an empty text if it is.

    `deviation` is that of the features, None where there are none.
    """
    if [case.warning in told for told in outcome.warnings] != [True] * bool(case.warning):
        return f"warnings: {outcome.warnings}"
    if case.reason:
        if outcome.excluded_by != case.stage:
            return f"excluded by {outcome.excluded_by or 'nothing'}, expected {case.stage}"
        return "" if re.search(case.reason, outcome.reason) else f"another reason: {outcome.reason}"
    if outcome.excluded_by:
        return f"excluded by {outcome.excluded_by}: {outcome.reason}"
    return "" if deviation <= case.tolerance else f"features deviate by {deviation:.3f}"


def scan_line(case, outcome, scan):
    """Return the page's line of a case with a scan."""
    if case.reason or case.warning:
        reason = outcome.reason.replace(f"{scan}: ", "").replace(f"{scan}/", "").replace("|", "/")
        told = "; ".join(filter(None, (*outcome.warnings, reason)))
        return f"| {case.title} | {outcome.excluded_by or 'nothing'} | {told} |"
    return f"| {case.title} | {_TOLERANCES[case.tolerance]} |"


def other_lines():
    """Return the lines of the cases without a scan: name -> line; their tests hold what they say."""
    lines = {name: f"| {title} | {told} |" for name, (title, *_, told) in STARTS.items()}
    lines |= {name: f"| {title} | the run starts |" for name, (title, _) in hostile_start.ACCEPTED.items()}
    return lines | {
        name: f"| {title} | {told.replace('.*', '...')} |" for name, (title, *_, told) in hostile_job.CASES.items()
    }


def page(lines, as_expected):
    """Return the page; `lines` are name -> line of all cases, `as_expected` says how many are."""
    parts = [
        "# Robustness",
        "",
        "Written by `make robustness`, which runs the corpus of [tests/hostile](../tests/hostile): scans, tables,",
        "configurations and files that are odd, broken or hostile, each made from a sound one, with its expected",
        "outcome. The test suite runs the same, and fails if a case ends otherwise or this page is not what it finds.",
        "",
        f"**Cases: {len(lines)}. As expected: {as_expected}.**",
        "",
        *_section("Scans that are accepted", "| case | outcome |", ACCEPTED, lines),
        "",
        *_TOLERANCE_TEXT,
        "",
        *_section("Scans with one lung in them", _ONE_LUNG, GATED, lines),
        "",
        *_ONE_LUNG_TEXT,
        "",
        *_section("Scans that are excluded", "| case | excluded by | reason in the record |", EXCLUDED, lines),
        "",
        *_section("Tables that are accepted", "| case | outcome |", hostile_start.ACCEPTED, lines),
        "",
        *_section("The run stops before any job, all faults at once", _TOLD, STARTS, lines),
        "",
        *_section("The job fails, and leaves nothing half-written", _TOLD, hostile_job.CASES, lines),
        "",
        *_CHECKPOINT_TEXT,
    ]
    return "\n".join(parts) + "\n"


_TOLD = "| case | what is told |"
_ONE_LUNG = "| case | excluded by | warning, and reason, in the record |"
_ONE_LUNG_TEXT = [
    "A single lung is registered to the same lung of the atlas, so that all gates, Dice among them, are about this",
    "lung; its points lie where they do with both lungs, within a voxel on average (2 of the 5 mm). The landmarks of",
    "the other lie in what takes its place, and the record of `segment` warns of it; `registered_lungs` in that of",
    "`register` says which lung it was. To leave such a subject out, give a reason in the column `exclude_reason` of",
    "the participants table.",
]
_CHECKPOINT_TEXT = [
    "A truncated or damaged checkpoint of a *training* costs no more than the steps since the one before it, which is",
    "taken instead, with a warning (tests/train/test_checkpoint.py). A single flipped bit in a subject's patches or in",
    "the bank fails the job that reads it, which names the file (checksums; tests/atlas/test_bank.py,",
    "tests/atlas/test_shards.py).",
]
_TOLERANCE_TEXT = [
    "Features are those of all landmarks, by an encoder of fixed seed without training. Deviations are shares of the",
    "distance to the features of another phantom. Where the resampled volume is the clean scan's, voxel for voxel, all",
    f"that follows is the same, bit for bit. {NEAR:.0%} is for scans whose lungs keep their voxels: what lies around",
    f"changes the patches at the rim. {RESAMPLED:.0%} is for scans on another grid: a patch begins at a whole voxel of",
    "the subject's own grid and is never rotated, so it may lie half a voxel away from the clean scan's along an axis",
    "(2.5 mm here, 0.5 mm at the paper's 1 mm).",
]


def _section(title, header, cases, lines):
    rule = "|" + "---|" * (header.count("|") - 1)
    return [f"## {title}", "", header, rule, *(lines[name] for name in cases)]


def without_digits(line):
    """Return a line without its numbers, the last digit of which may differ between machines."""
    return re.sub(r"[\d.,]+", "#", line)
