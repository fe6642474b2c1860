"""The disease probe as a page of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from drasclr_core.disease import EMPHYSEMA, TARGETS

_LABELS = {EMPHYSEMA: "any emphysema", "ground_glass": "ground glass"}

_WHAT = (
    "R² of a linear probe that reads the truly diseased share of a patch's lung from the patch's feature. Features "
    "are frozen; every patch is predicted by a probe fitted on other subjects; R² is pooled over all patches: 1 is "
    "perfect, 0 as good as the mean. *Location alone* predicts the landmark's mean; every probe starts from it, so "
    "that a run gains only by what it sees in the patch."
)


def disease_markdown(
    result: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], *, primary: str, cohort: str, config_hash: str
) -> str:
    """Return the result of `drasclr_core.disease_probe.probe_disease` as Markdown.

    Parameters
    ----------
    result : mapping
        As returned there.
    tasks : sequence of mappings
        The primary run against the reference on the subjects' labels, from
        `drasclr_core.task_differences.compare_task`.
    primary : str
        The run whose difference from the reference on any emphysema is the primary figure.
    cohort : str
        Named in the notes.
    config_hash : str
        Of the configuration in force.
    """
    parts = [
        "# True disease fraction of a patch, read from its feature",
        _WHAT,
        _primary(result, primary),
        "## R² of each run",
        _runs_table(result),
        f"## R² minus that of `{result['reference']}`, paired",
        _differences_table(result),
        f"## Subjects' labels: `{primary}` and `{result['reference']}`, pooled out of fold",
        _tasks_table(tasks, primary, result["reference"]),
        "\n".join(f"- {note}" for note in _notes(result, cohort, config_hash)),
    ]
    return "\n\n".join(parts) + "\n"


def _primary(result: Mapping[str, Any], run: str) -> str:
    difference = result["targets"][EMPHYSEMA]["differences"][run]
    head = f"**Primary figure**, `{run}` minus `{result['reference']}`, any emphysema: "
    return f"{head}**{_signed(difference)}**; {_verdict(difference)}."


def _verdict(value: Mapping[str, Any]) -> str:
    if value["estimate"] is None:
        return "undefined, for the fraction does not vary"
    if value["low"] > 0:
        return "the interval lies above zero"
    return "the interval lies below zero" if value["high"] < 0 else "the interval holds zero"


def _runs_table(result: Mapping[str, Any]) -> str:
    header = ["Disease", "Mean share of lung", "Location alone", *(f"`{run}`" for run in result["runs"])]
    rows = [
        [
            _label(target),
            f"{content['mean_fraction']:.1%}",
            _plain(content["location"]),
            *(_plain(content["runs"][run]) for run in result["runs"]),
        ]
        for target, content in result["targets"].items()
    ]
    return _table(header, rows)


def _differences_table(result: Mapping[str, Any]) -> str:
    compared = [run for run in result["runs"] if run != result["reference"]]
    rows = [
        [_label(target), *(_signed(content["differences"][run]) for run in compared)]
        for target, content in result["targets"].items()
    ]
    return _table(["Disease", *(f"`{run}`" for run in compared)], rows)


def _tasks_table(tasks: Sequence[Mapping[str, Any]], primary: str, reference: str) -> str:
    rows = [
        [
            task["task"],
            metric,
            str(task["n"]),
            _plain(value["run"]),
            _plain(value["reference"]),
            _signed(value["difference"]),
        ]
        for task in tasks
        for metric, value in task["metrics"].items()
    ]
    return _table(["Task", "Metric", "n", f"`{primary}`", f"`{reference}`", "Difference, paired"], rows)


def _notes(result: Mapping[str, Any], cohort: str, config_hash: str) -> list[str]:
    undefined = {
        _label(target): content["location"]["undefined_resamples"] for target, content in result["targets"].items()
    }
    lost = [
        f"{label}: {count} resamples without variation are left out." for label, count in undefined.items() if count
    ]
    return [
        f"In brackets {result['level']:.0%} intervals: percentiles of {result['resamples']} bootstrap resamples of "
        "whole subjects, the same for every run, the probes not fitted again.",
        f"Cohort: {cohort}. {result['n_subjects']} subjects, {result['n_patches']} patches; left out: "
        f"{result['n_invalid']} with their centre outside the scan, {result['n_little_lung']} with less than "
        f"{result['min_lung_fraction']:.0%} of lung.",
        f"Any emphysema: {', '.join(_label(name) for name in TARGETS[EMPHYSEMA])}. Only the first figure is the "
        "primary one; all others are secondary, and no interval is corrected for their number.",
        f"{result['fold_count']} folds by subject; readout: {result['readout']}; seed {result['seed']}.",
        *lost,
        f"Configuration {config_hash}.",
    ]


def _label(target: str) -> str:
    return _LABELS.get(target, target)


def _plain(value: Mapping[str, Any]) -> str:
    return _cell(value, "z.3f")


def _signed(value: Mapping[str, Any]) -> str:
    return _cell(value, "+z.3f")


def _cell(value: Mapping[str, Any], form: str) -> str:
    if value["estimate"] is None:
        return "–"
    estimate, low, high = (format(value[key], form) for key in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
