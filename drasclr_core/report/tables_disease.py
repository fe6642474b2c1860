"""The disease probe as a page of Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drasclr_core.evaluate.disease_rows import LOCATION
from drasclr_core.evaluate.pooled import FEW_PEOPLE
from drasclr_core.evaluate.truth import EMPHYSEMA, TARGETS
from drasclr_core.report.tables import made_by
from drasclr_core.report.tables_figures import MARK, few_people_note

_LABELS = {EMPHYSEMA: "any emphysema", "ground_glass": "ground glass"}

_WHAT = (
    "R² of a linear probe that reads the truly diseased share of a patch's lung from what is known of the patch. "
    "Features are frozen; every patch is predicted by a probe fitted on other subjects; R² is pooled over all patches: "
    "1 is perfect, 0 as good as the mean. `location` predicts the landmark's mean; every probe starts from it, so that "
    "a row gains only by what it sees in the patch. `histogram` is the patch's HU in 30 bins, `histogram3` the same of "
    "the patch and of its means over 2 and over 4 voxels cubed: neither learns anything before the probe."
)
_PRIMARY = "The **primary figure** is in bold; beside it, whether the run tells more than what learns nothing:"
_SEEN = (
    "No training was given a label, but its encoder saw the patches of the subjects that the probe is judged on, as in "
    "the paper."
)
_ALSO = "; `(last)` reads the last alone, of the same trainings"
_READ = {
    "last": "last, of the last layer",
    "middle": f"middle, of the last layer and of the middle of earlier ones{_ALSO}",
    "pooled": f"pooled, of the last layer and of earlier ones{_ALSO}",
}
_UNSEEN = "The same encoders. The probe is fitted and judged among phantoms that no training saw, by fold, as above."


def disease_markdown(
    probes: Mapping[str, Mapping[str, Any]],
    tasks: Sequence[Mapping[str, Any]],
    *,
    primary: str,
    hashes: Mapping[str, str],
) -> str:
    """Return the results of `drasclr_core.evaluate.disease_probe.probe_disease` as Markdown.

    Parameters
    ----------
    probes : mapping
        Cohort -> what was returned there: first of the cohort that the encoders were trained on, then, if there are,
        of phantoms that no training saw.
    tasks : sequence of mappings
        The primary run against the reference on the subjects' labels, from
        `drasclr_core.evaluate.task_differences.compare_task`.
    primary : str
        The run whose difference from the reference on any emphysema is the primary figure.
    hashes : mapping
        Cohort -> hash of the configuration in force.
    """
    seen, *unseen = probes.values()
    reference = seen["reference"]
    parts = ["# True disease fraction of a patch, read from its feature", _WHAT, _PRIMARY, _primary(seen, primary)]
    parts += ["## On the subjects of the training", _SEEN, *_tables(seen)]
    for probe in unseen:
        parts += ["## On phantoms that no training saw", _UNSEEN, _primary(probe, primary), *_tables(probe)]
    parts += [
        f"## Subjects' labels: `{primary}` and `{reference}`, pooled out of fold",
        _tasks_table(tasks, primary, reference),
        "\n".join(f"- {note}" for note in _notes(probes, hashes)),
    ]
    if any(MARK in part for part in parts):
        parts[-1] += f"\n- {few_people_note()}"
    return "\n\n".join(parts) + "\n"


def _primary(probe: Mapping[str, Any], run: str) -> str:
    """Return by how much a run tells more of any emphysema than the reference, and than what learns nothing."""
    found, reference = probe["targets"][EMPHYSEMA], probe["reference"]
    name, over = next(row["name"] for row in probe["rows"] if row["label"] == run), found["over_trainings"][run]
    lines = []
    for other, difference in found["differences"][name].items():
        value = f"**{_signed(difference)}**" if other == reference else _signed(difference)
        spread = f"; over trainings {_mean_sd(over['differences'][other], over['n'], '+z.3f')}" if over["n"] > 1 else ""
        lines.append(f"- `{run}` minus `{other}`, any emphysema: {value}; {_verdict(difference)}{spread}.")
    return "\n".join(lines)


def _verdict(value: Mapping[str, Any]) -> str:
    if value["estimate"] is None:
        return "undefined, for the fraction does not vary"
    if value["low"] > 0:
        return "the interval lies above zero"
    return "the interval lies below zero" if value["high"] < 0 else "the interval holds zero"


def _tables(probe: Mapping[str, Any]) -> list[str]:
    """Return R² of each row, the differences, and what of both the trainings of a run differ by."""
    targets = probe["targets"]
    rows = [["mean share of lung", *(f"{found['mean_fraction']:.1%}" for found in targets.values())]]
    rows += [
        [_of_seed(row), *(_plain(found["r2"][row["name"]]) for found in targets.values())] for row in probe["rows"]
    ]
    differences = [
        [
            f"{_of_seed(row)} - `{other}`",
            *(_signed(found["differences"][row["name"]][other]) for found in targets.values()),
        ]
        for row in probe["rows"]
        for other in next(iter(targets.values()))["differences"].get(row["name"], {})
    ]
    header, mark = ["", *map(_label, targets)], _mark(probe["n_subjects"])
    tables = [
        _table([f"{what}{mark}", *header[1:]], lines)
        for what, lines in (("R²", rows), ("difference, paired", differences))
    ]
    spread = list(_spread_rows(targets))
    return [*tables, _table([f"over trainings, mean ± s.d. (n){mark}", *header[1:]], spread)] if spread else tables


def _mark(people: int) -> str:
    return f" {MARK}" if people < FEW_PEOPLE else ""


def _spread_rows(targets: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield what the trainings of each run, of several, vary by: R², then its differences."""
    for label, first in next(iter(targets.values()))["over_trainings"].items():
        if first["n"] > 1:
            of_run = [found["over_trainings"][label] for found in targets.values()]
            yield [f"`{label}`", *(_mean_sd(each["r2"], each["n"], "z.3f") for each in of_run)]
            for other in first["differences"]:
                cells = [_mean_sd(each["differences"][other], each["n"], "+z.3f") for each in of_run]
                yield [f"`{label}` - `{other}`", *cells]


def _mean_sd(value: Mapping[str, Any], count: int, form: str) -> str:
    if value["mean"] is None:
        return "–"
    sd = "" if value["sd"] is None else f" ± {value['sd']:.3f}"
    return f"{value['mean']:{form}}{sd} ({count})"


def _of_seed(row: Mapping[str, Any]) -> str:
    return f"`{row['label']}`" if row["name"] == row["label"] else f"`{row['label']}`, seed {row['seed']}"


def _tasks_table(tasks: Sequence[Mapping[str, Any]], primary: str, reference: str) -> str:
    rows = [
        [
            task["task"],
            metric,
            f"{task['n']}{_mark(task['n'])}",
            _plain(value["run"]),
            _plain(value["reference"]),
            _signed(value["difference"]),
        ]
        for task in tasks
        for metric, value in task["metrics"].items()
    ]
    return _table(["Task", "Metric", "n", f"`{primary}`", f"`{reference}`", "Difference, paired"], rows)


def _notes(probes: Mapping[str, Mapping[str, Any]], hashes: Mapping[str, str]) -> Iterator[str]:
    first = next(iter(probes.values()))
    yield (
        f"In brackets {first['level']:.0%} intervals: percentiles of {first['resamples']} bootstrap resamples of whole "
        "subjects, the same for every row, the probes not fitted again."
    )
    if alone := [run for run, found in first["targets"][EMPHYSEMA]["over_trainings"].items() if found["n"] == 1]:
        yield (
            f"They cover the choice of subjects, not the chance of a training, of which there is one of "
            f"{', '.join(alone)}: give runs several `seeds`."
        )
    trained = [row for row in first["rows"] if row["features"] and row["label"] == row["run"]]
    for row in trained:
        for warning in row["warnings"]:
            yield f"Warning, {row['name']}: {warning}."
    yield f"Features of encoders: {_READ[trained[0]['features']]}."
    for cohort, probe in probes.items():
        yield (
            f"Cohort: {cohort}. {probe['n_subjects']} subjects, {probe['n_patches']} patches; left out: "
            f"{probe['n_invalid']} with their centre outside the scan, {probe['n_little_lung']} with less than "
            f"{probe['min_lung_fraction']:.0%} of lung. {probe['fold_count']} folds by subject; readout: "
            f"{probe['readout']}; seed {probe['seed']}. {made_by(hashes[cohort])}"
        )
        for target, found in probe["targets"].items():
            if lost := found["r2"][LOCATION]["undefined_resamples"]:
                yield f"{_label(target)}, {cohort}: {lost} resamples without variation are left out."
    yield (
        f"Any emphysema: {', '.join(_label(name) for name in TARGETS[EMPHYSEMA])}. Only the first figure is the "
        "primary one; all others are secondary, and no interval is corrected for their number."
    )


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
