import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from drasclr_core.errors import InputError
from drasclr_core.experiments import Comparison, load_comparison, load_experiment, required_results
from drasclr_core.tables import build_table, provenance_notes, table_csv, table_markdown

ROOT = Path(__file__).resolve().parents[1]
TABLE2 = ROOT / "experiments" / "table2.yaml"
PAPER = ROOT.parent / "shared" / "paper" / "table2.csv"

TOY = """
title: Toy
cohort: copd
columns:
  log_fev1pp_r2: {section: Lung function, label: "log FEV1pp, R²", task: log_fev1pp, metric: r2, format: ratio}
  gold_accuracy_pct: {section: GOLD, label: "accuracy, %", task: gold, metric: accuracy, format: percent}
  gold_within_one_pct: {section: GOLD, label: "within one, %", task: gold, metric: within_one, format: percent}
rows:
  - {label: LAA-950, run: laa950, paper: {log_fev1pp_r2: [0.44, 0.02], gold_accuracy_pct: [55.8, null]}}
  - {label: Own idea, run: own, note: "ours alone"}
  - {label: MoCo, group: unsupervised, run: null, paper: {gold_within_one_pct: [67.6, 1.4]}}
"""


def toy_file(tmp_path, text=TOY):
    path = tmp_path / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def result(summary, n=37, readout="plain", reason=None, converged=True, variant=None, task=None, notes=()):
    return {
        "task": task or ("log_fev1pp" if "r2" in summary else "gold"),
        "variant": variant,
        "notes": list(notes),
        "readout": readout,
        "seed": 0,
        "fold_count": 5,
        "n": n,
        "reason": reason,
        "folds": [{"converged": converged}],
        "summary": {metric: {"mean": mean, "sd": sd} for metric, (mean, sd) in summary.items()},
    }


def toy_results():
    gold = {"accuracy": (0.5, 0.25), "within_one": (2 / 3, None)}
    return {
        ("laa950", "log_fev1pp"): result({"r2": (-0.001, 0.0123)}),
        ("laa950", "gold"): result(gold, n=35),
        ("own", "log_fev1pp"): result({"r2": (0.25, 0.1)}),
        ("own", "gold"): result({"accuracy": (None, None), "within_one": (None, None)}, n=0, reason="no column gold"),
    }


@pytest.fixture
def toy(tmp_path):
    return load_experiment(toy_file(tmp_path))


# Experiments


@pytest.mark.skipif(not PAPER.exists(), reason=f"the paper's tables are not at {PAPER.parent}")
def test_table2_holds_the_papers_values_exactly():
    experiment = load_experiment(TABLE2)
    with PAPER.open(encoding="utf-8") as file:
        published = list(csv.DictReader(file))
    names = [name for name in published[0] if name not in ("method", "supervised") and not name.endswith("_sd")]
    columns = dict(zip(experiment.columns, names, strict=True))
    expected = {
        row["method"]: {
            ours: (float(row[theirs]), float(row[f"{theirs}_sd"]) if row[f"{theirs}_sd"] else None)
            for ours, theirs in columns.items()
            if row[theirs]
        }
        for row in published
    }
    rows = [row for row in experiment.rows if row.paper]
    assert {row.label: row.paper for row in rows} == expected
    assert [row.label for row in rows] == [row["method"] for row in published]
    groups = {"no": "unsupervised", "yes": "supervised"}
    assert {row.label: row.group for row in rows} == {row["method"]: groups[row["supervised"]] for row in published}


def test_table2_pairs_each_column_with_the_papers():
    columns = load_experiment(TABLE2).columns
    meaning = [(column.task, column.metric) for column in columns.values()]
    assert meaning == [
        ("log_fev1pp", "r2"),
        ("log_fev1_fvc", "r2"),
        ("gold", "accuracy"),
        ("gold", "within_one"),
        ("cle", "accuracy"),
        ("cle", "within_one"),
        ("paraseptal", "accuracy"),
        ("paraseptal", "within_one"),
        ("ae_history", "accuracy"),
    ]
    assert all((column.format == "percent") == name.endswith("_pct") for name, column in columns.items())


def test_table2_gives_paper_values_to_no_method_that_only_resembles_the_papers():
    rows = {row.run: row for row in load_experiment(TABLE2).rows if row.run}
    assert set(rows) == {"laa950", "kmeans", "patch-moco", "untrained", "drasclr"}
    assert {run for run, row in rows.items() if row.paper} == {"laa950", "drasclr"}


def test_required_results_name_each_evaluation_once(toy):
    assert required_results(toy) == [
        ("laa950", "log_fev1pp"),
        ("laa950", "gold"),
        ("own", "log_fev1pp"),
        ("own", "gold"),
    ]


def test_experiments_load_without_heavy_imports():
    code = "import sys; from drasclr_core import experiments; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "pandas", "sklearn", "scipy", "torch"} & set(loaded.split())


def test_all_faults_of_the_schema_are_told_at_once(tmp_path):
    text = TOY.replace("format: ratio", "format: decimal").replace("run: own, ", "").replace("title: Toy", "titel: Toy")
    with pytest.raises(InputError) as error:
        load_experiment(toy_file(tmp_path, text))
    message = str(error.value)
    assert "toy.yaml has faults" in message
    assert "columns.log_fev1pp_r2.format: 'decimal' is not one of ['ratio', 'percent']" in message
    assert "rows.1: 'run' is a required property" in message
    assert "top level: 'title' is a required property" in message
    assert "'titel' was unexpected" in message


def test_all_cross_faults_are_told_at_once(tmp_path):
    text = TOY.replace("task: log_fev1pp", "task: fev1").replace("metric: accuracy", "metric: r2")
    text = text.replace("label: Own idea", "label: LAA-950").replace(
        "{gold_within_one_pct: [67", "{gold_within_pct: [67"
    )
    with pytest.raises(InputError) as error:
        load_experiment(toy_file(tmp_path, text))
    message = str(error.value)
    assert "columns.log_fev1pp_r2.task: 'fev1' is not one of log_fev1pp, log_fev1_fvc" in message
    assert "columns.gold_accuracy_pct.metric: 'r2' is not one of accuracy, within_one" in message
    assert "rows.1.label: 'LAA-950' already names row 0" in message
    assert "rows.2.paper.gold_within_pct: no such column" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [", "not valid YAML"),
        (TOY.replace("  gold_within_one_pct: {s", "  gold_accuracy_pct: {s"), "'gold_accuracy_pct' stands twice"),
        ("- a list", "top level: .* is not of type 'object'"),
        (TOY.replace("[67.6, 1.4]", "[67.6, -1.4]"), "minimum of 0"),
        (TOY.replace("[67.6, 1.4]", "[67.6]"), "rows.2.paper.gold_within_one_pct"),
    ],
)
def test_files_that_are_no_experiment_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_experiment(toy_file(tmp_path, text))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml does not exist"):
        load_experiment(tmp_path / "none.yaml")


def test_the_loader_agrees_with_plain_yaml():
    content = yaml.safe_load(TABLE2.read_text(encoding="utf-8"))
    experiment = load_experiment(TABLE2)
    assert [row.label for row in experiment.rows] == [row["label"] for row in content["rows"]]
    assert list(experiment.columns) == list(content["columns"])


# Tables


def test_csv_by_hand(toy):
    text = table_csv(build_table(toy, toy_results()))
    assert text.splitlines() == [
        "method,group,run,variant,trainings,note,"
        "log_fev1pp_r2_mean,log_fev1pp_r2_sd,log_fev1pp_r2_training_sd,log_fev1pp_r2_n,log_fev1pp_r2_paper,"
        "log_fev1pp_r2_paper_sd,"
        "gold_accuracy_pct_mean,gold_accuracy_pct_sd,gold_accuracy_pct_training_sd,gold_accuracy_pct_n,"
        "gold_accuracy_pct_paper,gold_accuracy_pct_paper_sd,"
        "gold_within_one_pct_mean,gold_within_one_pct_sd,gold_within_one_pct_training_sd,gold_within_one_pct_n,"
        "gold_within_one_pct_paper,gold_within_one_pct_paper_sd",
        "LAA-950,,laa950,,1,,-0.001,0.0123,,37,0.44,0.02,50.0,25.0,,35,55.8,,66.666667,,,35,,",
        "Own idea,,own,,1,ours alone,0.25,0.1,,37,,,,,,0,,,,,,0,,",
        "MoCo,unsupervised,,,,not run here,,,,,,,,,,,,,,,,,67.6,1.4",
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
    results["own", "log_fev1pp"] = result({"r2": (0.25, 0.1)}, n=36, converged=False)
    notes = "\n".join(provenance_notes(results, cohort="phantom", config_hash="0f3a"))
    for fact in (
        "5 folds by subject",
        "readout: plain",
        "seed 0",
        "Cohort: phantom",
        "by task: gold 35, log_fev1pp 36-37.",  # one gold has no n, for the reason that is said
        "gold: no column gold.",
        "own / log_fev1pp: the model did not converge",
        "Configuration 0f3a.",
    ):
        assert fact in notes


def test_a_missing_evaluation_is_named(toy):
    results = toy_results()
    del results["own", "gold"], results["laa950", "gold"]
    with pytest.raises(InputError, match=r"'Toy' lacks evaluations \(run / task\): laa950 / gold, own / gold"):
        build_table(toy, results)


def test_evaluations_of_different_readouts_are_never_mixed(toy):
    results = toy_results()
    results["own", "gold"] = result({"accuracy": (0.5, 0.1), "within_one": (0.5, 0.1)}, readout="penalised")
    with pytest.raises(InputError, match="one readout, seed and number of folds"):
        build_table(toy, results)


# Variants

DETECTION = """
title: Detection
cohort: copd
columns:
  f1: {section: Centrilobular, label: F1, task: centrilobular_detection, metric: f1, format: ratio}
rows:
  - {label: Own, group: Linear readout, run: own, variant: linear}
  - {label: Own, group: Full fine-tuning, run: own, variant: finetuned, paper: {f1: [0.98, 0.01]}}
"""


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DETECTION.replace("variant: linear", "variant: nonlinear"),
            "rows.0.variant: 'nonlinear' is not one of linear",
        ),
        (DETECTION.replace(", variant: linear", ""), "rows.0.variant: 'None' is not one of linear"),
        (TOY.replace("run: own,", "run: own, variant: linear,"), "rows.1.variant: 'linear', but gold has no variants"),
        (DETECTION.replace("Full fine-tuning", "Linear readout"), "rows.1.label: 'Own' already names row 0"),
    ],
)
def test_variants_that_do_not_fit_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load_experiment(toy_file(tmp_path, text))


COMPARISON = """
title: Tests
table: table2
row: DrasCLR
against: [LAA-950, Patch-wise MoCo]
alternative: greater
"""


def test_a_comparison_is_read(tmp_path):
    expected = Comparison("Tests", "table2", "DrasCLR", ("LAA-950", "Patch-wise MoCo"), "greater")
    assert load_comparison(toy_file(tmp_path, COMPARISON)) == expected
    with pytest.raises(InputError, match=r"alternative.*less"):
        load_comparison(toy_file(tmp_path, COMPARISON.replace("greater", "less")))
