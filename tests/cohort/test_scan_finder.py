"""A folder stands for the scans below it; label maps are told from CTs, by name and by content."""

import gzip
import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from real_cts import FOLDER
from scan_model import no_lungs, write_model_and_scans, write_scan
from typer.testing import CliRunner
from volumes import image_like, saved, thorax, write_dicom

from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.cohort.imports.scan_finder import find_scans, scans_of
from drasclr_core.cohort.table import read_participant_rows
from drasclr_core.scan import nifti as scan_nifti
from drasclr_core.scan.headers import first_voxels
from drasclr_core.scan.labels import is_label_map
from drasclr_core.scan.meta_image import read_meta
from drasclr_core.scan.nrrd import read_nrrd

CT = thorax((6.0, 6.0, 6.0))
FORMATS = ["nii.gz", "nii", "nrrd", "mha", "mhd", "nhdr"]


def drasclr(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32])
def test_labels_are_told_by_their_values(tmp_path, suffix, packed, kind):
    assert is_label_map(saved(image_like(CT.ct, CT.lungs.astype(kind)), tmp_path / f"lungs.{suffix}", packed))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
def test_a_ct_is_no_label_map(tmp_path, suffix, packed, kind):
    hu = sitk.GetArrayFromImage(CT.ct)
    assert not is_label_map(saved(image_like(CT.ct, hu.astype(kind)), tmp_path / f"scan.{suffix}", packed))


def test_labels_with_large_numbers_are_labels_and_a_ct_with_an_offset_is_none(tmp_path):
    labels = CT.lungs.astype(np.int16) * 391
    assert is_label_map(saved(image_like(CT.ct, labels), tmp_path / "lungs.nrrd"))
    offset = sitk.GetArrayFromImage(CT.ct) + 1024  # the reader of scans says what to do with it
    assert not is_label_map(saved(image_like(CT.ct, offset), tmp_path / "scan.nrrd"))


def test_probabilities_are_no_ct(tmp_path):
    shares = np.random.default_rng(0).random(CT.lungs.shape).astype(np.float32)
    assert is_label_map(saved(image_like(CT.ct, shares), tmp_path / "p.nii.gz"))


@pytest.mark.parametrize("kind", ["<i2", ">i2", ">f8"])
def test_the_first_voxels_are_those_of_the_file(tmp_path, kind):
    values = np.arange(50 * 37 * 43).astype(kind)
    header = nibabel.Nifti1Header(endianness=kind[0])
    header.set_data_dtype(kind)
    nibabel.save(
        nibabel.Nifti1Image(values.reshape((50, 37, 43), order="F"), np.eye(4) * 6, header), tmp_path / "a.nii"
    )
    order, names = kind[0] == ">", {"i2": ("short", "MET_SHORT"), "f8": ("double", "MET_DOUBLE")}[kind[1:]]
    fields = f"type: {names[0]}\ndimension: 3\nsizes: 50 37 43\nencoding: gzip\nendian: {('little', 'big')[order]}\n"
    fields += "space: LPS\nspace directions: (6,0,0) (0,6,0) (0,0,6)\n\n"
    (tmp_path / "a.nrrd").write_bytes(f"NRRD0004\n{fields}".encode() + gzip.compress(values.tobytes()))
    fields = f"ObjectType = Image\nNDims = 3\nDimSize = 50 37 43\nElementType = {names[1]}\nElementSpacing = 6 6 6\n"
    fields += f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nBinaryDataByteOrderMSB = {order}\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(fields.encode() + values.tobytes())
    for count in (1000, 10**6):
        found = [
            scan_nifti.first_voxels(tmp_path / "a.nii", count),
            first_voxels(read_nrrd(tmp_path / "a.nrrd"), count),
            first_voxels(read_meta(tmp_path / "a.mha"), count),
        ]
        for each in found:
            np.testing.assert_array_equal(each, values[:count])


def test_an_offset_that_the_header_undoes_is_undone(tmp_path):
    """A CT stored from 0 upwards, with the intercept in the header, may begin with air: 24, which is -1000 HU."""
    stored = sitk.GetArrayFromImage(CT.ct).astype(np.int32) + 1024
    stored[:] = 24
    path = saved(image_like(CT.ct, stored.astype(np.uint16)), tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    assert is_label_map(path)
    content[112:120] = np.array([1, -1024], "<f4").tobytes()
    path.write_bytes(content)
    assert not is_label_map(path)


@pytest.mark.parametrize("name", ["a_seg", "a-mask", "LABELMAP", "s_label-1_dseg", "lung mask", "a.segmentation"])
def test_a_name_tells_a_label_map_of_what_cannot_be_read(tmp_path, name):
    (tmp_path / f"{name}.nii.gz").touch()
    assert is_label_map(tmp_path / f"{name}.nii.gz")


@pytest.mark.parametrize("name", ["segovia", "masked_ct", "unlabelled", "a_ct"])
def test_a_word_in_a_word_is_none(tmp_path, name):
    (tmp_path / f"{name}.nii.gz").touch()
    assert not is_label_map(tmp_path / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """`model`, and a folder of two scans, one of them refused, two label maps and a note."""
    folder = write_model_and_scans(tmp_path_factory.mktemp("finder"))
    scans = folder / "scans"
    (scans / "more").mkdir(parents=True)
    write_scan(scans / "a.nii.gz")
    no_lungs(scans / "more" / "b.nrrd")
    saved(image_like(CT.ct, CT.lungs), scans / "a_lungs.nii.gz")
    saved(CT.ct, scans / "a_seg.nii.gz")
    (scans / "notes.txt").touch()
    return folder


@pytest.mark.parametrize("command", ["embed", "qc"])
def test_a_folder_stands_for_the_scans_below_it(place, tmp_path, command):
    more = ["--model", place / "model", "-o", tmp_path / "f.csv"] if command == "embed" else []
    result = drasclr(command, place / "scans", *more, "--json")
    assert result.exit_code == 3, result.output
    found = {scan["scan"]: scan["status"] for scan in json.loads(result.stdout)["scans"]}
    assert found == {f"{place}/scans/a.nii.gz": "ok", f"{place}/scans/more/b.nrrd": "refused"}
    assert (
        f"{place}/scans: 2 scans, 2 label maps not taken (a_lungs.nii.gz, a_seg.nii.gz), 1 other file not taken "
        "(notes.txt)"
    ) in result.stderr.splitlines()


def test_the_same_scans_are_a_cohort(place, tmp_path):
    result = drasclr("cohort", "from-folder", place / "scans", "-o", tmp_path / "p.tsv")
    assert result.exit_code == 0, result.output
    assert [row["participant_id"] for row in read_participant_rows(tmp_path / "p.tsv")] == ["a", "b"]
    assert "  2 label maps or masks not used: a_lungs.nii.gz, a_seg.nii.gz" in result.stdout.splitlines()


def test_a_label_map_that_is_named_is_refused_as_a_scan(place):
    result = drasclr("qc", place / "scans" / "a_lungs.nii.gz")
    assert (result.exit_code, "not Hounsfield units: give the original scan" in result.stdout) == (3, True)


def test_a_series_is_one_scan_whatever_lies_below(tmp_path):
    write_dicom(tmp_path / "series", CT.ct[:, :, :12])
    saved(image_like(CT.ct, CT.lungs), tmp_path / "series" / "lungs.nii.gz")
    assert scans_of(str(tmp_path / "series")) == ([str(tmp_path / "series")], None)
    assert find_scans(tmp_path).scans == [tmp_path / "series"]


def test_a_folder_of_dicom_and_another_format_is_refused(tmp_path):
    write_dicom(tmp_path / "both", CT.ct[:, :, :12])
    saved(CT.ct, tmp_path / "both" / "converted.nii.gz")
    for call in (
        ["qc", tmp_path / "both"],
        ["qc", tmp_path],
        ["cohort", "from-folder", tmp_path, "-o", tmp_path / "p.tsv"],
    ):
        result = drasclr(*call)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "both: holds DICOM files, and beside them 1 of another format (converted.nii.gz)" in result.stderr
    assert find_scans(tmp_path, "*.nii.gz").scans == [tmp_path / "both" / "converted.nii.gz"]
    assert find_scans(tmp_path, "both").scans == [tmp_path / "both"]
    with pytest.raises(InputError, match="which is the scan cannot be known"):
        find_scans(tmp_path)


def test_a_folder_without_scans_is_refused_as_a_scan(tmp_path):
    (tmp_path / "empty").mkdir()
    result = drasclr("qc", tmp_path / "empty")
    assert (result.exit_code, "holds no DICOM image" in result.stdout) == (3, True)


def test_a_picture_is_of_one_scan(place, tmp_path):
    result = drasclr("qc", place / "scans", "--picture", tmp_path / "p.png")
    assert (result.exit_code, "--picture draws one scan, not 2" in result.stderr) == (2, True)


@pytest.mark.real_ct
@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real CTs in {FOLDER}: set DRASCLR_TEST_CT")
def test_real_scans_are_told_from_real_label_maps(tmp_path):
    found = find_scans(FOLDER)
    assert {path.name for path in found.scans} == {"LIDC-IDRI-0001_ct.nii.gz", "ct-64_ct.nrrd", "Lung_Dx-A0002_dicom"}
    assert len(found.label_maps) == 2
    for place, path in enumerate(found.label_maps):  # by their values too
        (tmp_path / f"{place}.nrrd").symlink_to(path)
        assert is_label_map(tmp_path / f"{place}.nrrd")
