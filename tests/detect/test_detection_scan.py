"""Detectors slid over one scan: with classifiers of known answers, on the scan's own grid."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scan_model import no_lungs, write_detectors, write_scan, write_scan_model
from typer.testing import CliRunner
from volumes import saved, thorax, turned, write_dicom

from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.detect.scan import load_ensembles
from drasclr_core.model.folder import load_model
from drasclr_core.scan.images import read_ct


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with its model and detectors, and a scan."""
    folder = tmp_path_factory.mktemp("run")
    model = load_model(write_scan_model(folder / "model"))
    write_detectors(folder / "detector", model, centrilobular=[0.2, 0.9], paraseptal=[0.6])
    write_detectors(folder / "none", model, centrilobular=[], paraseptal=[])
    write_detectors(folder / "half", model, centrilobular=[0.3, 0.9], paraseptal=[])
    write_detectors(folder / "one", model, centrilobular=[0.9], paraseptal=[])
    other = replace(model, sums={**model.sums, "encoder.safetensors": "0" * 64})
    write_detectors(folder / "others", other, centrilobular=[0.3], paraseptal=[])
    write_scan(folder / "scan.nii.gz")
    return folder


def detect(run, *more, scan="scan.nii.gz"):
    target = run / "mask.nii.gz"
    target.unlink(missing_ok=True)
    arguments = ["detect", str(run / scan), "--model", str(run / "model"), "-o", str(target), *map(str, more)]
    return CliRunner().invoke(app, arguments), target


def test_the_more_probable_subtype_is_drawn_into_the_lungs(run):
    result, target = detect(run)  # centrilobular (0.2 + 0.9) / 2 = 0.55, paraseptal 0.6
    assert result.exit_code == 0, result.output
    assert "centrilobular 100.0% of the lungs, paraseptal 100.0% of the lungs" in result.stdout
    mask, scan = sitk.ReadImage(str(target)), sitk.ReadImage(str(run / "scan.nii.gz"))
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert mask.IsSameImageGeometryAs(scan, 1e-5, 1e-5)
    seen, lungs = sitk.GetArrayFromImage(mask), thorax((5.0, 5.0, 5.0)).lungs > 0
    assert set(np.unique(seen)) == {0, 2}
    assert 2 * ((seen == 2) & lungs).sum() / ((seen == 2).sum() + lungs.sum()) > 0.9


def on_turned_grid(ct, path):
    """Write the scan as it is found on a grid turned about the origin, which lies in the body."""
    grid = sitk.Image(ct.GetSize(), sitk.sitkInt16)
    grid.CopyInformation(ct)
    grid.SetDirection(turned(10))
    grid.SetOrigin(np.reshape(turned(10), (3, 3)) @ ct.GetOrigin())
    return saved(sitk.Resample(ct, grid, sitk.Transform(), sitk.sitkLinear, -1000), path)


STORED = {
    "flipped.nii.gz": lambda ct, path: saved(sitk.Flip(sitk.PermuteAxes(ct, (2, 0, 1)), (True, False, True)), path),
    "oblique.nrrd": on_turned_grid,
    "series": lambda ct, path: write_dicom(path, ct),
}


@pytest.mark.parametrize("name", STORED)
def test_a_mask_lies_on_the_grid_of_its_scan(run, name):
    whole = thorax((4.0, 4.0, 4.0))
    STORED[name](whole.ct, run / name)
    result, target = detect(run, "--stride", 16, "--detectors", run / "one", scan=name)
    assert result.exit_code == 0, result.output
    mask = sitk.ReadImage(str(target))
    assert mask.IsSameImageGeometryAs(read_ct(run / name), 1e-4, 1e-4)
    back = sitk.GetArrayFromImage(sitk.Resample(mask, whole.ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    seen, lungs = back == 1, whole.lungs > 0
    assert 2 * (seen & lungs).sum() / (seen.sum() + lungs.sum()) > 0.9


def test_a_probability_is_the_mean_over_the_folds(run):
    result, target = detect(run, "--probability", "centrilobular", "--detectors", run / "half")
    assert result.exit_code == 0, result.output
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(target)))
    assert np.unique(np.round(image, 5)).tolist() == pytest.approx([0, 0.6], abs=1e-5)


def test_one_half_exactly_is_drawn_and_counted(run):
    write_detectors(run / "exact", load_model(run / "model"), centrilobular=[0.5], paraseptal=[0.2])
    result, target = detect(run, "--detectors", run / "exact")
    assert "centrilobular 100.0% of the lungs, paraseptal 0.0% of the lungs" in result.stdout
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(target))))) == {0, 1}


def test_a_subtype_without_detector_cannot_be_asked_for(run):
    result, target = detect(run, "--probability", "paraseptal", "--detectors", run / "half")
    assert (result.exit_code, target.exists()) == (2, False)
    assert "no detector of it here, only of centrilobular" in result.stderr


def test_a_scan_is_not_written_over(run):
    before = (run / "scan.nii.gz").read_bytes()
    result, _ = detect(run, "-o", run / "scan.nii.gz")
    assert (result.exit_code, (run / "scan.nii.gz").read_bytes()) == (2, before)
    assert "is the scan itself" in result.stderr


def test_a_refused_scan_leaves_no_other_ones_mask(run):
    (run / "older.nrrd").write_bytes(b"an older one")
    no_lungs(run / "bad.nii.gz")
    result, _ = detect(run, "-o", run / "older.nrrd", scan="bad.nii.gz")
    assert (result.exit_code, (run / "older.nrrd").exists()) == (3, False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "no detector could be trained"),
        ("model", r"holds no detector\.json: give the folder `detector`"),
        ("detector/paraseptal", r"holds no detector\.json: give the folder `detector`"),
        ("others", r"trained from another model than .*: encoder\.safetensors was 0000"),
    ],
)
def test_a_folder_without_detectors_is_refused(run, name, message):
    with pytest.raises(InputError, match=message):
        load_ensembles(run / name, load_model(run / "model"))
