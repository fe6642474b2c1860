"""Evaluations become the rows of a table: ours and the paper's values in columns of their own."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drasclr_core.base.errors import InputError
from drasclr_core.base.version import __version__
from drasclr_core.config.checks import run_of
from drasclr_core.config.table_specs import Column, Experiment, Row, required_results, row_results
from drasclr_core.config.tasks import OTHER_TASKS, evaluation_name
from drasclr_core.report.tables_figures import (
    MARK,
    few_people_note,
    fold_figures,
    folds_are_small,
    judged_people,
    people_of,
    pooled_figures,
    pooled_note,
    table_value,
    value_text,
)

NOT_RUN = "not run here"
QUOTED = "Columns headed *paper* quote the publication, on its own cohort; all others are ours."
PHANTOMS = (
    "The cohort is of phantoms, synthetic scans with known disease: the paper's values, which are of people, do not "
    "stand beside theirs."
)
SCALE = {"ratio": 1.0, "percent": 100.0}
_DECIMALS = {"ratio": 2, "percent": 1}
# Enough for every reader, too few for the last bits that differ between two machines' linear algebra.
_CSV_DECIMALS = 6

TableRow = dict[str, Any]
Results = Mapping[tuple[str, str], Mapping[str, Any]]
"""(training, evaluation's name) -> evaluation, as `drasclr_core.evaluate.probes.evaluate_task` returns it.

A training's name is that of its run, or begins with it (`drasclr_core.config.checks.training_names`).
"""


def build_table(experiment: Experiment, results: Results) -> list[TableRow]:
    """Return the table's rows, in the experiment's order, ready for `table_csv` and `table_markdown`.

    Parameters
    ----------
    experiment : Experiment
        Rows, columns and the paper's values.
    results : Results
        Of every training of the runs.

    Returns
    -------
    list of dict
        ``method, group, run, variant, trainings`` (how many), ``note``, then for each column C: ``C_mean, C_sd`` over
        the folds, in the column's unit, both the mean over the trainings; or, where the folds are small
        (`tables_figures.folds_are_small`), ``C_pooled, C_low, C_high``, the figure of all folds' predictions at once
        and its interval; ``C_training_sd``, the sample standard deviation over the trainings of their values, ``C_n``
        subjects or patches, ``C_people``, whose they are; ``C_paper, C_paper_sd`` unless the experiment is without
        them. None where there is no value, or one of the trainings has none.

    Raises
    ------
    InputError
        If an evaluation is missing, or the evaluations differ in seed, number of folds or, of one variant, readout.
    """
    pairs = [(each, name) for run, name in required_results(experiment) for each in trainings_of(run, results) or [run]]
    missing = [f"{training} / {name}" for training, name in pairs if (training, name) not in results]
    if missing:
        raise InputError(f"'{experiment.title}' lacks evaluations (run / task): {', '.join(missing)}")
    common_settings(list(results.values()))
    is_pooled = folds_are_small(list(results.values()))
    return [_table_row(row, experiment, results, is_pooled) for row in experiment.rows]


def trainings_of(run: str | None, results: Results) -> list[str]:
    """Return the trainings of a run that have an evaluation, in their order."""
    return list(dict.fromkeys(training for training, _ in results if run_of(training) == run))


def table_csv(rows: Sequence[TableRow]) -> str:
    """Return the rows as comma-separated text with a header line; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _rounded(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def table_markdown(experiment: Experiment, rows: Sequence[TableRow], footnotes: Sequence[str] = ()) -> str:
    """Return the table as Markdown, one block per section of columns, in each ours and, if quoted, the paper's.

    Parameters
    ----------
    experiment : Experiment
        The one that `rows` were built from.
    rows : sequence of dict
        From `build_table`.
    footnotes : sequence of str
        Lines below the table, such as those of `provenance_notes`.
    """
    sections = list(dict.fromkeys(column.section for column in experiment.columns.values()))
    blocks = [_block(section, experiment, rows) for section in sections]
    notes = [f"{row['method']}: {row['note']}." for row in rows if row["note"] not in ("", NOT_RUN)]
    quoted = QUOTED if experiment.paper else PHANTOMS
    few = [few_people_note()] * any(MARK in block for block in blocks)
    lines = [f"- {line}" for line in (f"{quoted} – means no value.", *few, *notes, *footnotes)]
    return "\n\n".join([f"# {experiment.title}", *blocks, "\n".join(lines)]) + "\n"


def provenance_notes(results: Results, *, cohort: str, config_hash: str) -> list[str]:
    """Return the footnotes that say how the values came about.

    Parameters
    ----------
    results : Results
        As for `build_table`.
    cohort : str
        The cohort that plays the experiment's role.
    config_hash : str
        Of the configuration in force.

    Raises
    ------
    InputError
        If the evaluations differ in readout, seed or number of folds.
    """
    readouts, seed, folds = common_settings(list(results.values()))
    reasons = sorted({f"{result['task']}: {result['reason']}." for result in results.values() if result["reason"]})
    unconverged = sorted(
        f"{training} / {name}: the model did not converge in every fold."
        for (training, name), result in results.items()
        if not all(fold["converged"] for fold in result["folds"])
    )
    evaluations = list(results.values())
    is_pooled = folds_are_small(evaluations)
    spreads = sorted({_spread(result["task"]) for result in evaluations})
    over_folds = f"Mean ± standard deviation ({', '.join(spreads)}) over {folds} folds by subject"
    what = pooled_note(evaluations, folds) if is_pooled else over_folds
    return [
        f"{what}; readout: {', '.join(readouts)}; seed {seed}.",
        *_training_notes(results, is_pooled),
        f"Cohort: {cohort}. Subjects, or patches, with the label, by task: {_counts(evaluations)}.",
        *reasons,
        *unconverged,
        *sorted(set(_notes(results, is_pooled))),
        *features_notes(results),
        *collapse_notes(results),
        made_by(config_hash),
    ]


def made_by(config_hash: str) -> str:
    """Return the footnote by which two pages are told to be of one version and of the same settings."""
    return f"Made by drasclr {__version__}; hash of the settings that decide these figures: {config_hash}."


def _training_notes(results: Results, is_pooled: bool) -> Iterator[str]:
    runs = {run_of(training) for training, _ in results}
    if any(len(trainings_of(run, results)) > 1 for run in runs):
        what = "is a mean, in brackets the interval of that mean" if is_pooled else "and the spread beside it are means"
        yield (
            f"Over N trainings, which differ in their seeds alone, the value {what}; in parentheses stands the sample "
            "s.d. of the trainings' values, which what is beside the value does not contain."
        )


def _counts(results: Sequence[Mapping[str, Any]]) -> str:
    """Return n by task, and by variant where these differ; a range where the runs of one differ."""
    counted: dict[str, dict[str, set[int]]] = {}
    for result in results:
        if not result["reason"]:  # whose n is of nothing in the table
            counted.setdefault(result["task"], {}).setdefault(result["variant"] or "", set()).add(people_of(result))
    counts = []
    for task, variants in sorted(counted.items()):
        ranges = {name: _range(numbers) for name, numbers in sorted(variants.items())}
        alike = len(set(ranges.values())) == 1
        by_variant = ", ".join(f"{name} {numbers}" for name, numbers in ranges.items())
        counts.append(f"{task} {next(iter(ranges.values()))}" if alike else f"{task} ({by_variant})")
    return ", ".join(counts) or "none"


def _notes(results: Results, is_pooled: bool) -> Iterator[str]:
    """Yield what the evaluations say; with the trainings' names where not all of a task and variant say it."""
    trainings: dict[tuple[str, str | None], set[str]] = {}
    saying: dict[tuple[str, str | None, str], set[str]] = {}
    for (training, _), result in results.items():
        kind = (result["task"], result["variant"])
        trainings.setdefault(kind, set()).add(training)
        for note in (*result["notes"], *(() if is_pooled else _fold_notes(result))):
            saying.setdefault((*kind, note), set()).add(training)
    for (task, variant, note), who in saying.items():
        yield note if who == trainings[task, variant] else f"{', '.join(sorted(who))}: {note}"


def features_notes(results: Results) -> Iterator[str]:
    """Yield which features of the encoders the evaluations read."""
    read = {result["features"]["features"] for result in results.values() if "features" in result.get("features", {})}
    if read:
        yield f"Features of encoders: {', '.join(sorted(read))}."


def collapse_notes(results: Results) -> list[str]:
    """Return what the trainings of a table warn of, by their names."""
    warnings = {(training, text) for (training, _), result in results.items() for text in result.get("warnings", [])}
    return [f"Warning, {training}: {text}." for training, text in sorted(warnings)]


def _fold_notes(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield over how many folds a mean is, where a metric is undefined in some."""
    total, name = result["fold_count"], evaluation_name(result["task"], result["variant"])
    without: dict[int, list[str]] = {}
    for metric in result["summary"]:
        undefined = sum(fold["metrics"][metric] is None for fold in result["folds"])
        without.setdefault(undefined, []).append(metric)
    for undefined, metrics in without.items():
        if undefined:
            them = "it" if len(metrics) == 1 else "them"
            yield f"{name}: {', '.join(metrics)} over the {total - undefined} of {total} folds that define {them}."


def _spread(task: str) -> str:
    return OTHER_TASKS[task].spread if task in OTHER_TASKS else "the folds' sample s.d."


def common_settings(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], int, int]:
    """Return the readouts, the seed and the number of folds."""
    settings = {(result["seed"], result["fold_count"]) for result in results}
    readouts = {(result["variant"], result["readout"]) for result in results}
    if len(settings) != 1 or len({variant for variant, _ in readouts}) != len(readouts):
        raise InputError(
            f"A table needs evaluations with one readout, seed and number of folds, and has {sorted(settings)} "
            f"and {sorted(str(pair) for pair in readouts)}: evaluate again."
        )
    return sorted({readout for _, readout in readouts}), *settings.pop()


def _table_row(row: Row, experiment: Experiment, results: Results, is_pooled: bool) -> TableRow:
    note = row.note or ("" if row.run else NOT_RUN)
    cells: TableRow = {"method": row.label, "group": row.group, "run": row.run, "variant": row.variant}
    trainings, found = trainings_of(row.run, results), row_results(experiment, row)
    cells |= {"trainings": len(trainings) or None, "note": note}
    for name, column in experiment.columns.items():
        each = [results[training, found[name][1]] for training in trainings]
        figures = (pooled_figures if is_pooled else fold_figures)(column.metric, each, SCALE[column.format])
        cells |= {f"{name}_{figure}": value for figure, value in figures.items()}
        cells[f"{name}_n"] = each[0]["n"] if each else None
        cells[f"{name}_people"] = judged_people(each[0]) if each else None
        if experiment.paper:
            cells[f"{name}_paper"], cells[f"{name}_paper_sd"] = row.paper.get(name, (None, None))
    return cells


def _block(section: str, experiment: Experiment, rows: Sequence[TableRow]) -> str:
    columns = {name: column for name, column in experiment.columns.items() if column.section == section}
    names = ["Group", "Method", "Run"]
    quoted = ["*paper*"] if experiment.paper else []
    header = names + [heading for column in columns.values() for heading in (column.label, *quoted)]
    lines = [header, ["---"] * len(names) + ["--:"] * (len(header) - len(names))]
    lines += [_markdown_cells(row, columns) for row in rows]
    return "\n".join([f"## {section}", "", *("| " + " | ".join(line) + " |" for line in lines)])


def _markdown_cells(row: TableRow, columns: Mapping[str, Column]) -> list[str]:
    run = f"`{row['run']}`" if row["run"] else NOT_RUN
    cells = [row["group"] or "–", row["method"], f"{run}, {row['variant']}" if row["variant"] else run]
    for name, column in columns.items():
        decimals = _DECIMALS[column.format]
        spread = row[f"{name}_training_sd"]
        over = "" if spread is None else f" (± {spread:.{decimals}f} over {row['trainings']} trainings)"
        cells.append(table_value(row, name, decimals) + over)
        if f"{name}_paper" in row:
            cells.append(value_text(row[f"{name}_paper"], row[f"{name}_paper_sd"], decimals))
    return [cell.replace("|", "\\|") for cell in cells]


def _rounded(value: Any) -> Any:
    return round(value, _CSV_DECIMALS) + 0.0 if isinstance(value, float) else value


def _range(numbers: set[int]) -> str:
    return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)}-{max(numbers)}"
