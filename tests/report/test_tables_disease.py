"""The probe of true disease as a page and as a table: what is said of each row, and each row once."""

import csv

import pytest

from drasclr_core.report.tables import table_csv
from drasclr_core.report.tables_disease import disease_markdown
from drasclr_core.report.tables_known_truth import known_truth

ROWS = {"location": 0.1, "histogram": 0.7, "histogram3": 0.8, "untrained": 0.3, "drasclr": 0.6, "drasclr/seed-2": 0.5}
ROWS |= {"untrained/seed-2": 0.35}
SEEDS = {"drasclr": ("drasclr", "drasclr/seed-2"), "untrained": ("untrained", "untrained/seed-2")}


def value(estimate):
    return {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.05, "undefined_resamples": 0}


def target(less):
    """Return what was found of one disease: each R2 is `less` below that of `ROWS`."""
    r2 = {name: value(estimate - less) for name, estimate in ROWS.items()}
    others = {"untrained": "untrained", "histogram": "histogram"}
    differences = {
        name: {other: value(ROWS[name] - ROWS[row]) for other, row in others.items()} for name in SEEDS["drasclr"]
    }
    over = {"n": 2, "r2": {"mean": 0.55 - less, "sd": 0.0707}}
    spread = {"untrained": {"mean": 0.225, "sd": 0.106}, "histogram": {"mean": -0.15, "sd": 0.071}}
    return {
        "mean_fraction": 0.25,
        "r2": r2,
        "differences": differences,
        "over_trainings": {"untrained": {**over, "differences": {}}, "drasclr": {**over, "differences": spread}},
    }


def probe(less=0.0, subjects=30):
    rows = []
    for name in ROWS:
        run, _, seed = name.partition("/seed-")
        warnings = ["it collapsed"] if name == "drasclr/seed-2" else []
        told = {"name": name, "label": run, "run": run, "features": "last" if run in SEEDS else None}
        rows.append({**told, "seed": int(seed or 0), "warnings": warnings})
    return {
        "reference": "untrained",
        "rows": rows,
        "targets": {"emphysema": target(less), "ground_glass": target(less + 0.1)},
        **{"readout": "penalised", "seed": 0, "fold_count": 5, "resamples": 2000, "level": 0.95},
        **{"min_lung_fraction": 0.05, "n_subjects": subjects, "n_patches": 145, "n_invalid": 5, "n_little_lung": 2},
    }


def pooled_probe():
    """Return the same of trainings that are read pooled, and of their last layers, which tell 0.02 less."""
    found = probe()
    for row in [row for row in found["rows"] if row["features"]]:
        row["features"] = "pooled"
        found["rows"].append({**row, "features": "last"} | {key: f"{row[key]} (last)" for key in ("name", "label")})
    for each in found["targets"].values():
        for name in [name for names in SEEDS.values() for name in names]:
            each["r2"][f"{name} (last)"] = value(each["r2"][name]["estimate"] - 0.02)
        for kind in ("differences", "over_trainings"):
            each[kind] |= {f"{name} (last)": content for name, content in each[kind].items()}
    return found


TASK_VALUE = {"estimate": 0.25, "low": -0.5, "high": 0.75}
TASK = {"task": "gold", "n": 34, "metrics": {"accuracy": dict.fromkeys(("run", "reference", "difference"), TASK_VALUE)}}


def page_of(**probes):
    return disease_markdown(probes, [TASK], primary="drasclr", hashes={name: f"hash-of-{name}" for name in probes})


def test_the_page_names_each_row_and_what_learns_nothing():
    page = page_of(toys=probe())
    first, second = (line for line in page.splitlines() if line.startswith("- `drasclr` minus"))
    assert "`untrained`, any emphysema: **+0.300 [+0.200, +0.350]**; the interval lies above zero" in first
    assert first.endswith("over trainings +0.225 ± 0.106 (2).")
    assert "`histogram`, any emphysema: -0.100 [-0.200, -0.050]; the interval lies below zero" in second
    assert "| R² | any emphysema | ground glass |" in page
    assert "| mean share of lung | 25.0% | 25.0% |" in page
    assert "| `location` | 0.100 [0.000, 0.150] | 0.000 [-0.100, 0.050] |" in page
    assert "| `histogram3` | 0.800 [0.700, 0.850] | 0.700 [0.600, 0.750] |" in page
    assert "| `drasclr`, seed 2 | 0.500 [0.400, 0.550] | 0.400 [0.300, 0.450] |" in page
    assert "| `drasclr`, seed 2 - `untrained` | +0.200 [+0.100, +0.250] |" in page
    assert "| `drasclr` | 0.550 ± 0.071 (2) | 0.450 ± 0.071 (2) |" in page
    assert "| `drasclr` - `histogram` | -0.150 ± 0.071 (2) |" in page
    assert "| gold | accuracy | 34 | 0.250 [-0.500, 0.750] | 0.250 [-0.500, 0.750] | +0.250 [-0.500, +0.750] |" in page
    assert "its encoder saw the patches of the subjects that the probe is judged on" in page
    assert "no training saw" not in page
    assert page.count("Warning, drasclr/seed-2: it collapsed.") == 1
    assert (
        "30 subjects, 145 patches; left out: 5 with their centre outside the scan, 2 with less than 5% of lung" in page
    )
    assert "5 folds by subject; readout: penalised; seed 0. Made by drasclr " in page
    assert "hash of the settings that decide these figures: hash-of-toys." in page
    assert "†" not in page
    assert "- Features of encoders: last, of the last layer." in page


def test_the_page_has_pooled_trainings_beside_their_last_layers():
    page = page_of(toys=pooled_probe())
    first = next(line for line in page.splitlines() if line.startswith("- `drasclr` minus"))
    assert "`untrained`, any emphysema: **+0.300 [+0.200, +0.350]**" in first
    assert "| `drasclr` | 0.600 [0.500, 0.650] |" in page
    assert "| `drasclr (last)` | 0.580 [0.480, 0.630] |" in page
    assert "| `drasclr (last)`, seed 2 | 0.480 [0.380, 0.530] |" in page
    assert "| `drasclr (last)`, seed 2 - `untrained` | +0.200 [+0.100, +0.250] |" in page
    assert "| `drasclr (last)` | 0.550 ± 0.071 (2) |" in page
    assert (
        "- Features of encoders: pooled, of the last layer and of earlier ones; `(last)` reads the last alone" in page
    )
    assert page.count("it collapsed") == 1


def test_the_page_has_the_unseen_beside_the_seen():
    page = page_of(toys=probe(), others=probe(less=0.05, subjects=80))
    seen, unseen = page.split("## On phantoms that no training saw")
    assert "| `drasclr` | 0.600 [0.500, 0.650] |" in seen
    assert "| `drasclr` | 0.550 [0.450, 0.600] |" in unseen
    assert "Cohort: others. 80 subjects" in unseen
    assert "figures: hash-of-others." in unseen


def test_fewer_than_thirty_people_are_marked():
    page = page_of(toys=probe(), others=probe(subjects=29))
    seen, unseen = page.split("## On phantoms that no training saw")
    assert "†" not in seen
    for heading in ("R² †", "difference, paired †", "over trainings, mean ± s.d. (n) †"):
        assert f"| {heading} | any emphysema |" in unseen
    assert page.endswith("- † of fewer than 30 people: an example rather than a result.\n")
    task = {**TASK, "n": 12}
    assert "| gold | accuracy | 12 † |" in disease_markdown(
        {"toys": probe()}, [task], primary="drasclr", hashes={"toys": "h"}
    )


def test_one_training_a_run_is_said_to_be_one():
    once = probe()
    for found in once["targets"].values():
        for over in found["over_trainings"].values():
            over["n"] = 1
    page = page_of(toys=once)
    assert "not the chance of a training, of which there is one of untrained, drasclr" in page
    assert "over trainings" not in page.lower()


def test_known_truth_has_a_row_for_each_way_to_read():
    rows = list(csv.DictReader(table_csv(known_truth(pooled_probe(), pooled_probe())).splitlines()))
    keys = [(row["run"], row["disease"], row["seed"], row["features"]) for row in rows]
    assert len(set(keys)) == len(keys) == (3 + 2 * 4) * 2
    assert {row["features"] for row in rows if row["run"] in ("location", "histogram", "histogram3")} == {""}
    found = {(row["run"], row["seed"], row["features"]): row["r2"] for row in rows if row["disease"] == "emphysema"}
    assert found["drasclr", "2", "pooled"] == "0.5"
    assert found["drasclr", "2", "last"] == "0.48"
    assert all(row["unseen_r2"] == row["r2"] for row in rows)


def test_known_truth_has_each_run_disease_and_seed_once():
    lines = table_csv(known_truth(probe(), probe(less=0.05, subjects=80))).splitlines()
    rows = list(csv.DictReader(lines))
    assert list(rows[0])[:6] == ["run", "disease", "seed", "features", "r2", "low"]
    keys = [(row["run"], row["disease"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys) == len(ROWS) * 2
    assert {row["run"] for row in rows} == {"location", "histogram", "histogram3", "untrained", "drasclr"}
    assert lines[6] == "drasclr,emphysema,2,last,0.5,0.4,0.55,30,0.45,0.35,0.5,80,it collapsed"
    assert sum(bool(row["warning"]) for row in rows) == 2  # one training, two diseases
    for row in rows:
        name = row["run"] if row["seed"] == "0" else f"{row['run']}/seed-{row['seed']}"
        expected = ROWS[name] - (0.1 if row["disease"] == "ground_glass" else 0)
        bounds = [float(row[key]) for key in ("r2", "low", "high", "unseen_r2", "unseen_low", "unseen_high")]
        shifts = (0, -0.1, 0.05, -0.05, -0.15, 0)
        assert bounds == pytest.approx([expected + shift for shift in shifts], abs=1e-6)
        assert (row["subjects"], row["unseen_subjects"]) == ("30", "80")


def test_without_unseen_phantoms_their_cells_are_empty():
    rows = list(csv.DictReader(table_csv(known_truth(probe())).splitlines()))
    assert {row[key] for row in rows for key in ("unseen_r2", "unseen_low", "unseen_high", "unseen_subjects")} == {""}
    assert all(row["r2"] for row in rows)
