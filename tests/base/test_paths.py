"""Paths as people give them and tables hold them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from drasclr_core.base.paths import path_cell
from drasclr_core.cohort.imports.table_file import relative_image
from drasclr_core.model.embed_tables import Tables, landmarks_path, write_tables


@pytest.mark.parametrize("name", ["=1+1.nii.gz", "+1.nii", "-1.nii", "@x/scan.nii"])
def test_no_cell_begins_as_a_formula_does(name, tmp_path):
    assert path_cell(name) == f"./{name}"
    assert relative_image(tmp_path / name, tmp_path / "participants.tsv") == f"./{name}"
    assert relative_image(tmp_path / name, tmp_path / "below/participants.tsv") == f"../{name}"


def test_other_cells_stay_as_they_are():
    names = ["a=b.nii", "/=x.nii", "..", "Müller.nii"]
    assert list(map(path_cell, names)) == names


def test_a_table_of_features_is_safe_to_open(tmp_path):
    frame = pd.DataFrame({"scan": ["=1+1.nii.gz", "b.nii"], "f0": np.float32([1, 2])})
    path = tmp_path / "features.csv"
    write_tables(Tables(frame, frame), path)
    for written in (path, landmarks_path(path)):
        assert pd.read_csv(written)["scan"].tolist() == ["./=1+1.nii.gz", "b.nii"]
        assert Path("./=1+1.nii.gz") == Path("=1+1.nii.gz")  # still the same file
