import gzip
import logging

import numpy as np
import pytest
from volumes import array_of, image_like, saved, thorax, turned, write_dicom

from drasclr_core.base.errors import InputError
from drasclr_core.scan.images import read_ct, write_image


@pytest.fixture(scope="module")
def ct():
    return thorax((4.0, 4.0, 4.0)).ct


def test_dicom_series_is_sorted_and_rescaled_once(ct, tmp_path):
    write_dicom(tmp_path / "series", ct)
    found = read_ct(tmp_path / "series")
    assert np.array_equal(array_of(found), array_of(ct))
    assert found.IsSameImageGeometryAs(ct)


def test_oblique_dicom_keeps_its_geometry(ct, tmp_path):
    oblique = image_like(ct, array_of(ct), Direction=turned(12))
    write_dicom(tmp_path / "series", oblique)
    assert read_ct(tmp_path / "series").IsSameImageGeometryAs(oblique, 1e-3, 1e-6)


def test_header_text_reaches_neither_image_nor_log(ct, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    image = image_like(ct, array_of(ct))
    image.SetMetaData("comment", "MARKED")
    write_dicom(tmp_path / "series", ct)
    write_dicom(tmp_path / "series", ct[:, :, :1], series="9", prefix="scout", ImageType=["ORIGINAL", "LOCALIZER"])
    for path in (saved(image, tmp_path / "scan.nrrd"), tmp_path / "series"):
        found = read_ct(path)
        assert found.GetMetaDataKeys() == ()
        write_image(found, tmp_path / "out.nii.gz")
        assert b"MARKED" not in gzip.decompress((tmp_path / "out.nii.gz").read_bytes())
    assert "took the axial CT" in caplog.text
    assert "MARKED" not in caplog.text


@pytest.fixture
def series(ct, tmp_path):
    return tmp_path / "series", write_dicom(tmp_path / "series", ct)


def test_localizer_short_series_and_other_files_are_passed_over(ct, series):
    folder, _ = series
    write_dicom(folder, ct[:, :, :1], series="2", prefix="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_dicom(folder, ct, series="6", prefix="planes", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_dicom(folder, ct[:, :, :12], series="3", prefix="bolus")
    write_dicom(folder, ct, series="4", prefix="mr", Modality="MR")
    write_dicom(folder, ct, series="5", prefix="sagittal", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    (folder / "README").write_text("not an image")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "._slice000.dcm").write_bytes(b"\0\5\x16\7 of a Mac")
    assert np.array_equal(array_of(read_ct(folder)), array_of(ct))


def test_two_plausible_series_are_refused(ct, series):
    folder, _ = series
    write_dicom(folder, ct[:, :, :50], series="2", prefix="kernel")
    with pytest.raises(InputError, match=r"2 series that could be the CT \(slices: 65, 50\)"):
        read_ct(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda paths: paths[20].unlink(), "slices are missing.* 4.00 to 8.00 mm"),
        (lambda paths: paths[20].write_bytes(b""), "020.dcm: this DICOM slice cannot be read"),
        (lambda paths: paths[20].write_bytes(paths[20].read_bytes()[:300]), "020.dcm: this DICOM slice cannot be read"),
        (lambda paths: paths[20].write_bytes(paths[20].read_bytes()[:3000]), "cannot be read"),
        (lambda paths: [path.unlink() for path in paths[5:]], "5 slices, fewer than 10"),
        (lambda paths: [path.unlink() for path in paths], "holds no DICOM image"),
    ],
    ids=["missing", "empty", "cut in the header", "cut in the voxels", "few", "none"],
)
def test_broken_series_are_refused(series, harm, message):
    folder, paths = series
    harm(paths)
    with pytest.raises(InputError, match=message):
        read_ct(folder)


def test_a_duplicated_slice_is_refused(series):
    folder, paths = series
    (folder / "copy.dcm").write_bytes(paths[20].read_bytes())
    with pytest.raises(InputError, match="1 slices lie where another lies already"):
        read_ct(folder)


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_what_is_not_a_ct_is_refused(ct, tmp_path, modality):
    write_dicom(tmp_path / "series", ct, Modality=modality)
    with pytest.raises(InputError, match=f"no axial CT series .*found: {modality}"):
        read_ct(tmp_path / "series")


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_slices_without_geometry_are_refused(ct, tmp_path, name):
    import pydicom

    for path in write_dicom(tmp_path / "series", ct):
        item = pydicom.dcmread(path)
        delattr(item, name)
        item.save_as(path)
    with pytest.raises(InputError, match="no axial CT series .*a position and an orientation"):
        read_ct(tmp_path / "series")


def test_gantry_tilt_is_refused(ct, tmp_path):
    paths = write_dicom(tmp_path / "series", ct)
    import pydicom

    for index, path in enumerate(paths):
        item = pydicom.dcmread(path)
        item.ImagePositionPatient[1] += index * 4.0 * np.tan(np.radians(10))
        item.save_as(path)
    with pytest.raises(InputError, match="tilted by 10.0 degrees"):
        read_ct(tmp_path / "series")


def test_compressed_and_multi_frame_files(ct, tmp_path):
    import pydicom

    for path in write_dicom(tmp_path / "compressed", ct):
        item = pydicom.dcmread(path)
        item.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom")
        item.save_as(path)
    assert np.array_equal(array_of(read_ct(tmp_path / "compressed")), array_of(ct))
    write_dicom(tmp_path / "frames", ct[:, :, :1], NumberOfFrames=65, PixelData=bytes(ct.GetNumberOfPixels() * 2))
    with pytest.raises(InputError, match="one slice per file"):
        read_ct(tmp_path / "frames")


def test_a_file_that_may_not_be_read_is_refused(series, monkeypatch):
    folder, _ = series

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        read_ct(folder)


def test_a_disk_that_fails_excludes_no_scan(series, monkeypatch):
    folder, _ = series

    def fail(self, mode):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.open", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_ct(folder)
