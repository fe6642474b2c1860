"""The fixtures hold what is published: against the files themselves, where they lie; and the tables that hold less."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from reference import FIXTURES, FOLDER, PAPER, cell_faces, published_grid, reference_file, released_model

from drasclr_core.config.table_specs import load_experiment

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("f1", "precision", "recall")


def test_the_released_models_numbers_are_those_recorded():
    settings, _, _, expected = released_model()
    assert settings == json.loads(reference_file("released_model.json").read_text(encoding="utf-8"))
    with np.load(reference_file("released_model.npz"), allow_pickle=False) as recorded:
        assert set(expected) == set(recorded)
        for name, values in recorded.items():
            np.testing.assert_allclose(expected[name], values, rtol=1e-7, atol=1e-9, err_msg=name)


def test_the_atlass_counts_are_those_of_the_published_mask():
    mask, corners = published_grid()
    published = sitk.ReadImage(str(reference_file("atlas_lung_mask.nii.gz")))
    assert mask.IsSameImageGeometryAs(published, 1e-9, 1e-9)
    np.testing.assert_array_equal(corners, np.load(reference_file("atlas_patch_loc.npy")))
    lung = sitk.GetArrayViewFromImage(published) > 0
    with np.load(FIXTURES / "atlas_grid.npz", allow_pickle=False) as counts:
        cells = counts["lung_voxels"]
    z, y, x = (cell_faces(size) for size in lung.shape)
    for place in np.argwhere(cells)[::97]:
        box = np.ix_(*(range(*edges[i : i + 2]) for edges, i in zip((z, y, x), place, strict=True)))
        assert lung[box].sum() == cells[tuple(place)]
    assert lung.sum() == cells.sum(dtype=np.int64)


@pytest.mark.parametrize("number", range(2, 10))
def test_the_papers_tables_are_those_transcribed(number):
    transcribed = FOLDER.parent / "paper" / f"table{number}.csv"
    if not transcribed.exists():
        pytest.skip(f"no {transcribed} (DRASCLR_REFERENCE)")
    assert (PAPER / transcribed.name).read_text(encoding="utf-8") == transcribed.read_text(encoding="utf-8")


def paper_rows(name):
    with (PAPER / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table5_holds_the_papers_values_exactly():
    experiment = load_experiment(ROOT / "experiments" / "table5.yaml")
    names = [f"{subtype}_{figure}" for subtype in ("centrilobular", "paraseptal") for figure in METRICS]
    assert [(column.task, column.metric) for column in experiment.columns.values()] == [
        (f"{subtype}_detection", figure) for subtype in ("centrilobular", "paraseptal") for figure in METRICS
    ]
    published = [
        (row["scheme"], row["model"], {name: (float(row[name]), float(row[f"{name}_sd"])) for name in names})
        for row in paper_rows("table5")
    ]
    assert [(row.group, row.label, row.paper) for row in experiment.rows if row.paper] == published


def test_table7_holds_the_papers_values_exactly():
    rows = {row.variant: row.paper for row in load_experiment(ROOT / "experiments" / "table7.yaml").rows}
    published = {
        variant: {
            row["subtype"].split()[0].lower(): (float(row[f"{variant}_acc"]), float(row[f"{variant}_acc_sd"]))
            for row in paper_rows("table7")
        }
        for variant in ("random_location", "patch_location")
    }
    assert rows == published
