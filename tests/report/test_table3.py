"""Table 3 as declared: the paper's values, and which of our evaluations stands beside them."""

from pathlib import Path

from reference import PAPER

from drasclr_core.config.table_specs import load_experiment

ROOT = Path(__file__).resolve().parents[2]
TABLE = load_experiment(ROOT / "experiments" / "table3.yaml")


def test_table3_holds_the_papers_values_exactly():
    header, *lines = [line.split(",") for line in (PAPER / "table3.csv").read_text(encoding="utf-8").splitlines()]
    assert header[2:] == [f"c_index_p{p}{suffix}" for p in (25, 50, 75) for suffix in ("", "_sd")]
    published = [
        ((group, method), list(map(float, values[0::2])), list(map(float, values[1::2])))
        for group, method, *values in lines
    ]
    ours = [
        ((row.group, row.label), *([row.paper[f"uno_p{p}"][k] for p in (25, 50, 75)] for k in (0, 1)))
        for row in TABLE.rows
        if row.paper
    ]
    assert ours == published
    assert all(set(row.paper) <= {"uno_p25", "uno_p50", "uno_p75"} for row in TABLE.rows)


def test_each_column_has_its_own_metric():
    assert {name: (column.task, column.metric) for name, column in TABLE.columns.items()} == {
        name: ("survival", name)
        for name in ("uno_p25", "uno_p50", "uno_p75", "harrell_p25", "harrell_p50", "harrell_p75")
    }


def test_each_row_has_the_run_and_the_columns_of_its_label():
    rows = {row.label: (row.run, row.variant, bool(row.paper)) for row in TABLE.rows if row.run}
    assert rows == {
        "Hand-designed": ("laa950", "hand_designed", True),
        "DrasCLR": ("drasclr", "imaging", True),
        "Spirometry": ("no-image", "spirometry", True),
        "BODE": ("no-image", "bode", True),
        "Hand-designed + BODE": ("laa950", "hand_designed_bode", True),
        "DrasCLR + Spirometry": ("drasclr", "spirometry", True),
        "DrasCLR + BODE": ("drasclr", "bode", True),
        "LAA-950": ("laa950", "imaging", False),
        "K-means (histograms)": ("kmeans", "imaging", False),
        "Patch-wise MoCo": ("patch-moco", "imaging", False),
        "Untrained encoder": ("untrained", "imaging", False),
        "Confounders alone": ("no-image", "imaging", False),
    }
