"""The tables of significance tests: one row of a table against others of it, column by column."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from drasclr_core.config.checks import run_of
from drasclr_core.config.table_specs import NOT_AVAILABLE, Comparison, Experiment, Row, compared_rows, row_results
from drasclr_core.evaluate.pooled import FEW_PEOPLE
from drasclr_core.evaluate.significance import compare_folds
from drasclr_core.report.tables import (
    NOT_RUN,
    PHANTOMS,
    SCALE,
    Results,
    TableRow,
    collapse_notes,
    common_settings,
    features_notes,
    made_by,
    trainings_of,
)
from drasclr_core.report.tables_figures import MARK, few_people_note, judged_people, over_trainings


def build_significance(comparison: Comparison, experiment: Experiment, results: Results) -> list[TableRow]:
    """Return the tests, method after method and column after column, ready for `drasclr_core.report.tables.table_csv`.

    Parameters
    ----------
    comparison : Comparison
        Which rows are compared.
    experiment : Experiment
        The table that they stand in.
    results : Results
        Of every training of the runs in `compared_results`.

    Returns
    -------
    list of dict
        ``method, against, run, against_run, column, alternative, folds, people``; ``difference`` of the means in the
        column's unit; ``plain_t, plain_df, plain_p`` of the two-sample t-test, ``corrected_t, corrected_df,
        corrected_p`` of the corrected resampled t-test, neither of fewer than `FEW_PEOPLE` people; ``note``: why a
        value is missing; ``paper_p``, unless the comparison is without it. None where there is no value.
    """
    row, others = compared_rows(comparison, experiment)
    return [
        _test(comparison, experiment, row, other, column, results) for other in others for column in experiment.columns
    ]


def significance_markdown(
    comparison: Comparison, experiment: Experiment, rows: Sequence[TableRow], footnotes: Sequence[str] = ()
) -> str:
    """Return the tests as Markdown, one block per section of columns; `rows` are those of `build_significance`."""
    sections = list(dict.fromkeys(column.section for column in experiment.columns.values()))
    blocks = [_block(section, comparison, experiment, rows) for section in sections]
    few = [f"{few_people_note()} No p is given."] * any(MARK in block for block in blocks)
    lines = "\n".join(f"- {line}" for line in (*_explanations(comparison), *few, *footnotes))
    return "\n\n".join([f"# {comparison.title}", *blocks, lines]) + "\n"


def significance_notes(rows: Sequence[TableRow], results: Results, *, cohort: str, config_hash: str) -> list[str]:
    """Return the footnotes that say how the values came about, and why some are missing."""
    readouts, seed, folds = common_settings(list(results.values()))
    missing = sorted(
        f"{row['against']} / {row['column']}: {row['note']}." for row in rows if row["note"] not in ("", NOT_RUN)
    )
    return [
        f"{folds} folds by subject; readout: {', '.join(readouts)}; seed {seed}. Cohort: {cohort}.",
        _spread_note(results),
        *missing,
        *features_notes(results),
        *collapse_notes(results),
        made_by(config_hash),
    ]


def _spread_note(results: Results) -> str:
    counts = {run_of(training): len(trainings_of(run_of(training), results)) for training, _ in results}
    several = ", ".join(f"{run} {count}" for run, count in counts.items() if count > 1)
    of_means = f", of each fold's mean over the trainings ({several})" if several else ""
    return f"Spread in both tests: that over the folds{of_means}. That over trainings with other seeds is in neither."


def _explanations(comparison: Comparison) -> list[str]:
    sides = {
        "greater": f"One-sided: is '{comparison.row}' better?",
        "two-sided": f"Two-sided: is '{comparison.row}' different?",
    }
    published = "*Paper*: what the publication says of these tests, on its own cohort."
    if comparison.paper_p == NOT_AVAILABLE:
        published = f"*Paper*: {NOT_AVAILABLE}, for the appendix of the publication is not part of the text at hand."
    return [
        f"Difference: mean over the folds of '{comparison.row}' minus that of the row. "
        f"{sides[comparison.alternative]} No p is corrected for the number of tests.",
        "p, t-test: the paper's, Student's two-sample t-test on the values of the folds. It takes them as independent, "
        "which they are not: the training sets overlap. Its p tends to be too small.",
        "p, corrected: the corrected resampled t-test (Nadeau and Bengio, 2003) of the differences fold by fold, whose "
        "variance it raises from 1/k to 1/k + n_test/n_train for that overlap.",
        f"{published if comparison.paper_p else PHANTOMS} – means no value.",
    ]


def _test(
    comparison: Comparison, experiment: Experiment, row: Row, other: Row, column: str, results: Results
) -> TableRow:
    cells: TableRow = {
        "method": row.label,
        "against": other.label,
        "run": row.run,
        "against_run": other.run,
        "column": column,
        "alternative": comparison.alternative,
        "folds": None,
        "people": None,
        "difference": None,
    }
    tests: dict[str, dict[str, Any]] = {"plain": {}, "corrected": {}}
    notes = [NOT_RUN]
    if other.run is not None:
        ours, theirs = (_together(each, row_results(experiment, each)[column][1], results) for each in (row, other))
        chosen = experiment.columns[column]
        found = compare_folds(ours, theirs, chosen.metric, comparison.alternative)
        tests = {name: found[name] for name in tests}
        difference = found["difference"]
        cells |= {"folds": found["folds"], "people": min(map(judged_people, (ours, theirs)))}
        cells["difference"] = None if difference is None else difference * SCALE[chosen.format]
        notes = list(dict.fromkeys(test["reason"] for test in tests.values() if test["reason"]))
        if cells["people"] < FEW_PEOPLE:
            tests, notes = {name: {} for name in tests}, [f"{cells['people']} people, and a p needs {FEW_PEOPLE}"]
    for name, test in tests.items():
        cells |= {f"{name}_{figure}": test.get(figure) for figure in ("t", "df", "p")}
    return cells | {"note": "; ".join(notes)} | ({"paper_p": comparison.paper_p} if comparison.paper_p else {})


def _together(row: Row, name: str, results: Results) -> dict[str, Any]:
    """Return one evaluation for all trainings of a row, in which a fold's metrics are the means over them."""
    evaluations = [results[training, name] for training in trainings_of(row.run, results)]
    folds = zip(*(evaluation["folds"] for evaluation in evaluations), strict=True)
    return {**evaluations[0], "folds": [{**same[0], "metrics": _mean_metrics(same)} for same in folds]}


def _mean_metrics(folds: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    names = folds[0]["metrics"]
    return {name: over_trainings(statistics.fmean, [fold["metrics"][name] for fold in folds]) for name in names}


def _block(section: str, comparison: Comparison, experiment: Experiment, rows: Sequence[TableRow]) -> str:
    columns = {name: column for name, column in experiment.columns.items() if column.section == section}
    header = [f"{comparison.row} against"]
    quoted = ["*paper*"] if comparison.paper_p else []
    for column in columns.values():
        header += [f"{column.label}: difference", "p, t-test", "p, corrected", *quoted]
    lines = [header, ["---"] + ["--:"] * (len(header) - 1)]
    for label in comparison.against:
        line = [label]
        for name, column in columns.items():
            row = next(row for row in rows if row["against"] == label and row["column"] == name)
            line += _cells(row, decimals={"ratio": 3, "percent": 1}[column.format])
        lines.append([cell.replace("|", "\\|") for cell in line])
    return "\n".join([f"## {section}", "", *("| " + " | ".join(line) + " |" for line in lines)])


def _cells(row: TableRow, decimals: int) -> list[str]:
    quoted = [row["paper_p"]] if "paper_p" in row else []
    if row["note"] == NOT_RUN:
        return [NOT_RUN, "–", "–", *quoted]
    mark = f" {MARK}" if row["people"] < FEW_PEOPLE else ""
    difference = "–" if row["difference"] is None else f"{row['difference']:+z.{decimals}f}{mark}"
    return [difference, _p(row["plain_p"]), _p(row["corrected_p"]), *quoted]


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
