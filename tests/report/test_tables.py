import csv
import io
import re
from pathlib import Path

import pytest
from toy_tables import DETECTION, TOY, result, toy_file, toy_results

from drasclr_core import __version__
from drasclr_core.base.errors import InputError
from drasclr_core.config.table_specs import load_experiment, required_results
from drasclr_core.report.tables import build_table, provenance_notes, table_csv, table_markdown
from drasclr_core.report.tables_significance import significance_notes

ROOT = Path(__file__).resolve().parents[2]
TABLE2 = ROOT / "experiments" / "table2.yaml"


@pytest.fixture
def toy(tmp_path):
    return load_experiment(toy_file(tmp_path))


# Tables


def test_csv_by_hand(toy):
    text = table_csv(build_table(toy, toy_results()))
    assert text.splitlines() == [
        "method,group,run,variant,trainings,note,"
        "log_fev1pp_r2_mean,log_fev1pp_r2_sd,log_fev1pp_r2_training_sd,log_fev1pp_r2_n,log_fev1pp_r2_people,log_fev1pp_r2_paper,"
        "log_fev1pp_r2_paper_sd,"
        "gold_accuracy_pct_mean,gold_accuracy_pct_sd,gold_accuracy_pct_training_sd,gold_accuracy_pct_n,gold_accuracy_pct_people,"
        "gold_accuracy_pct_paper,gold_accuracy_pct_paper_sd,"
        "gold_within_one_pct_mean,gold_within_one_pct_sd,gold_within_one_pct_training_sd,gold_within_one_pct_n,gold_within_one_pct_people,"
        "gold_within_one_pct_paper,gold_within_one_pct_paper_sd",
        "LAA-950,,laa950,,1,,-0.001,0.0123,,370,370,0.44,0.02,50.0,25.0,,350,350,55.8,,66.666667,,,350,350,,",
        "Own idea,,own,,1,ours alone,0.25,0.1,,370,370,,,,,,0,0,,,,,,0,0,,",
        "MoCo,unsupervised,,,,not run here,,,,,,,,,,,,,,,,,,,,67.6,1.4",
    ]


def test_markdown_by_hand(toy):
    rows = build_table(toy, toy_results())
    assert table_markdown(toy, rows, ["Seen."]) == (
        "# Toy\n\n"
        "## Lung function\n\n"
        "| Group | Method | Run | log FEV1pp, R² | *paper* |\n"
        "| --- | --- | --- | --: | --: |\n"
        "| – | LAA-950 | `laa950` | 0.00 ± 0.01 | 0.44 ± 0.02 |\n"
        "| – | Own idea | `own` | 0.25 ± 0.10 | – |\n"
        "| unsupervised | MoCo | not run here | – | – |\n\n"
        "## GOLD\n\n"
        "| Group | Method | Run | accuracy, % | *paper* | within one, % | *paper* |\n"
        "| --- | --- | --- | --: | --: | --: | --: |\n"
        "| – | LAA-950 | `laa950` | 50.0 ± 25.0 | 55.8 | 66.7 | – |\n"
        "| – | Own idea | `own` | – | – | – | – |\n"
        "| unsupervised | MoCo | not run here | – | – | – | 67.6 ± 1.4 |\n\n"
        "- Columns headed *paper* quote the publication, on its own cohort; all others are ours. – means no value.\n"
        "- Own idea: ours alone.\n"
        "- Seen.\n"
    )


@pytest.mark.parametrize(("people", "mark"), [(30, ""), (29, " †")])
def test_a_figure_of_fewer_than_thirty_people_is_marked(toy, people, mark):
    results = toy_results()
    of_few = results["own", "log_fev1pp"]
    of_few["folds"][0]["ids"] = [f"s{number % people}" for number in range(of_few["n"])]  # patches of so many people
    rows = build_table(toy, results)
    assert [row["log_fev1pp_r2_people"] for row in rows] == [370, people, None]
    text = table_markdown(toy, rows)
    assert f"| – | Own idea | `own` | 0.25 ± 0.10{mark} | – |" in text
    assert "| – | LAA-950 | `laa950` | 0.00 ± 0.01 | 0.44 ± 0.02 |" in text
    assert text.count("- † of fewer than 30 people: an example rather than a result.") == bool(mark)


def test_a_bar_in_a_label_does_not_break_the_markdown(tmp_path):
    experiment = load_experiment(toy_file(tmp_path, TOY.replace("label: MoCo", 'label: "Mo|Co"')))
    lines = table_markdown(experiment, build_table(experiment, toy_results())).splitlines()
    assert any(line.startswith("| unsupervised | Mo\\|Co |") for line in lines)


def test_paper_values_never_enter_our_columns():
    experiment = load_experiment(TABLE2)
    marked = 0.123456
    results = {
        (run, task): result({"r2": (marked, marked), "accuracy": (marked, marked), "within_one": (marked, marked)})
        for run, task in required_results(experiment)
    }
    for row in csv.DictReader(io.StringIO(table_csv(build_table(experiment, results)))):
        for name, cell in row.items():
            if name.endswith("_training_sd"):
                assert cell == ""
            elif re.search(r"_(mean|sd)$", name) and not name.endswith("_paper_sd"):
                assert cell in (("0.123456", "12.3456") if row["run"] else ("",))
            if name.endswith("_paper"):
                assert cell not in ("0.123456", "12.3456")
        assert (row["note"] == "not run here") == (row["run"] == "")


def test_table_bytes_do_not_depend_on_the_order_of_the_results(toy):
    results = toy_results()
    reverse = dict(reversed(results.items()))
    assert table_csv(build_table(toy, results)) == table_csv(build_table(toy, reverse))
    settings = {"cohort": "phantom", "config_hash": "abc"}
    assert provenance_notes(results, **settings) == provenance_notes(reverse, **settings)


def test_provenance_names_what_a_reader_needs():
    results = toy_results()
    results["own", "log_fev1pp"] = result({"r2": (0.25, 0.1)}, n=360, converged=False)
    notes = "\n".join(provenance_notes(results, cohort="phantom", config_hash="0f3a"))
    for fact in (
        "5 folds by subject",
        "readout: plain",
        "seed 0",
        "Cohort: phantom",
        "by task: gold 350, log_fev1pp 360-370.",  # one gold has no n, for the reason that is said
        "gold: no column gold.",
        "own / log_fev1pp: the model did not converge",
        f"Made by drasclr {__version__}; hash of the settings that decide these figures: 0f3a.",
    ):
        assert fact in notes


def test_a_missing_evaluation_is_named(toy):
    results = toy_results()
    del results["own", "gold"], results["laa950", "gold"]
    with pytest.raises(InputError, match=r"'Toy' lacks evaluations \(run / task\): laa950 / gold, own / gold"):
        build_table(toy, results)


def test_the_footnotes_say_which_features_were_read():
    results = toy_results()  # of methods without an encoder
    settings = {"cohort": "phantom", "config_hash": "0f3a"}
    assert not any("encoders" in note for note in provenance_notes(results, **settings))
    for key in list(results)[:2]:
        results[key] = {**results[key], "features": {"features": "pooled", "model": {}}}
    assert provenance_notes(results, **settings).count("Features of encoders: pooled.") == 1
    assert significance_notes([], results, **settings).count("Features of encoders: pooled.") == 1


def test_evaluations_of_different_readouts_are_never_mixed(toy):
    results = toy_results()
    results["own", "gold"] = result({"accuracy": (0.5, 0.1), "within_one": (0.5, 0.1)}, readout="penalised")
    with pytest.raises(InputError, match="one readout, seed and number of folds"):
        build_table(toy, results)


# Variants


def detected(variant, f1, readout):
    return result({"f1": (f1, 0.1)}, variant=variant, readout=readout, task="centrilobular_detection", notes=["Boxes."])


def test_a_run_has_a_row_for_each_variant(tmp_path):
    experiment = load_experiment(toy_file(tmp_path, DETECTION))
    pairs = [("own", "centrilobular_detection-linear"), ("own", "centrilobular_detection-finetuned")]
    assert required_results(experiment) == pairs
    results = dict(
        zip(pairs, [detected("linear", 0.5, "plain"), detected("finetuned", 0.75, "end to end")], strict=True)
    )
    rows = build_table(experiment, results)
    assert [(row["variant"], row["f1_mean"], row["f1_paper"]) for row in rows] == [
        ("linear", 0.5, None),
        ("finetuned", 0.75, 0.98),
    ]
    assert "| Full fine-tuning | Own | `own`, finetuned | 0.75 ± 0.10 | 0.98 ± 0.01 |" in table_markdown(
        experiment, rows
    )
    notes = provenance_notes(results, cohort="phantom", config_hash="0f3a")
    assert "readout: end to end, plain;" in notes[0]
    assert notes.count("Boxes.") == 1


def test_n_is_stated_by_variant_and_a_note_of_one_run_names_it():
    results = {
        ("a", "survival-bode"): result({}, n=33, variant="bode", task="survival", notes=["All.", "Bode."]),
        ("a", "survival-imaging"): result({}, n=35, variant="imaging", task="survival", notes=["All."]),
        ("b", "survival-imaging"): result({}, n=35, variant="imaging", task="survival", notes=["All.", "No x."]),
    }
    notes = provenance_notes(results, cohort="phantom", config_hash="0f3a")
    assert notes[1].endswith("by task: survival (bode 33, imaging 35).")
    assert notes[2:-1] == ["All.", "Bode.", "b: No x."]


def test_a_footnote_says_over_how_many_folds_a_mean_is():
    found = detected("linear", 0.5, "plain")
    found["folds"] = [{"converged": True, "metrics": {"f1": value}} for value in (0.4, None, 0.6, None, 0.5)]
    others = {("own", "centrilobular_detection-linear"): found, ("lab", "centrilobular_detection-linear"): found}
    line = "centrilobular_detection-linear: f1 over the 3 of 5 folds that define it."
    assert provenance_notes(others, cohort="phantom", config_hash="0f3a").count(line) == 1
    others["lab", "centrilobular_detection-linear"] = detected("linear", 0.5, "plain")
    assert f"own: {line}" in provenance_notes(others, cohort="phantom", config_hash="0f3a")


def test_a_collapse_is_a_footnote_of_every_table_that_uses_the_run(toy):
    results = toy_results()
    for name in ("log_fev1pp", "gold"):
        results["own", name]["warnings"] = ["the training collapsed"]
    notes = provenance_notes(results, cohort="phantom", config_hash="0")
    assert [note for note in notes if "collapse" in note] == ["Warning, own: the training collapsed."]
