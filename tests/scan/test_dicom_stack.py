"""Slices that do not make one regular, calibrated volume are refused by name; what is harmless is read as it is."""

import numpy as np
import pydicom
import pytest
from volumes import array_of, thorax, write_dicom

from drasclr_core.base.errors import InputError
from drasclr_core.scan.images import read_ct

SLICES = 65


@pytest.fixture(scope="module")
def ct():
    return thorax((4.0, 4.0, 4.0)).ct


@pytest.fixture(scope="module")
def written(ct, tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    return write_dicom(folder, ct)


def changed_series(written, folder, change, places=range(SLICES)):
    """Copy a series; `change(item, index)` alters some slices, or returns False to leave one out."""
    folder.mkdir(exist_ok=True)
    for index, path in enumerate(written):
        item = pydicom.dcmread(path)
        if index in places and change(item, index) is False:
            continue
        item.save_as(folder / path.name)
    return folder


def setting(**values):
    def change(item, _):
        for name, value in values.items():
            setattr(item, name, value)

    return change


def moved(**mm):
    """Return a change that moves a slice along x, y or z, in mm."""

    def change(item, _):
        item.ImagePositionPatient = [
            value + mm.get(axis, 0) for axis, value in zip("xyz", item.ImagePositionPatient, strict=True)
        ]

    return change


def rgb(item, _):
    item.SamplesPerPixel, item.PhotometricInterpretation, item.PlanarConfiguration = 3, "RGB", 0
    item.BitsAllocated = item.BitsStored = 8
    item.HighBit, item.PixelRepresentation = 7, 0
    item.PixelData = bytes(item.Rows * item.Columns * 3)


def eight_bit(item, _):
    item.BitsAllocated = item.BitsStored = 8
    item.HighBit, item.PixelRepresentation = 7, 0
    item.PixelData = bytes(item.Rows * item.Columns)


def unsigned_unsaid(item, _):
    del item.PixelRepresentation


def unscaled(item, _):
    del item.RescaleIntercept, item.RescaleSlope


@pytest.mark.parametrize(
    ("change", "places", "message"),
    [
        (setting(PixelSpacing=[0, 0]), range(SLICES), r"slice000\.dcm: PixelSpacing \(0028,0030\) is 0 x 0 mm"),
        (setting(PixelSpacing=[0, 0]), [7], r"slice007\.dcm: PixelSpacing \(0028,0030\) is 0 x 0 mm, of most .* 4 x 4"),
        (setting(PixelSpacing=[4, 3.2]), [0], r"slice000\.dcm: PixelSpacing .* is 3.2 x 4 mm, of most"),
        (setting(PixelSpacing=[4, 4.02]), range(40, 50), r"slice040\.dcm: PixelSpacing .* is 4.02 x 4 mm"),
        (moved(x=10), [25], r"slice025\.dcm: ImagePositionPatient \(0020,0032\) lies 10\.0 mm beside"),
        (moved(y=-3), range(20, 30), r"slice02\d\.dcm: ImagePositionPatient .* 3\.0 mm beside"),
        (moved(x=0.8), [64], r"beside the line"),  # seen from the ends the others lie beside
        (moved(z=1.5), [30], r"slices are missing: the gap .* from 2\.50 to 5\.50 mm, usually 4\.00"),
        (rgb, [30], r"slice030\.dcm: has another PhotometricInterpretation"),
        (setting(PhotometricInterpretation="MONOCHROME1"), [3], r"slice003\.dcm: has another Photometric"),
        (eight_bit, [30], r"slice030\.dcm: has BitsAllocated \(0028,0100\) of 8 in place of 16"),
        (unscaled, [30], r"slice030\.dcm: has no RescaleIntercept"),
        (unscaled, range(40), r"slice040\.dcm: has a RescaleIntercept"),
        (unsigned_unsaid, [30], r"slice030\.dcm: has no PixelRepresentation \(0028,0103\)"),
        (setting(BitsStored=12), range(SLICES), r"slice000\.dcm: HighBit \(0028,0102\) is 15, BitsStored .* 12"),
        (setting(BitsStored=12, HighBit=13), [9], r"slice009\.dcm: HighBit \(0028,0102\) is 13, BitsStored .* 12"),
        (setting(ImagePositionPatient=[0, 0, 0]), range(SLICES), "64 slices lie where another lies already"),
        (lambda item, _: item.add_new(0x00200032, "DS", ""), [9], r"slice009\.dcm: lacks ImagePositionPatient"),
        (setting(ConvolutionKernel="B80f"), range(0, SLICES, 2), r"2 series that could be the CT \(slices: 33, 32\)"),
        (setting(AcquisitionNumber=2), range(0, SLICES, 2), r"2 series that could be the CT \(slices: 33, 32\)"),
    ],
)
def test_an_irregular_or_mixed_stack_is_refused_by_name(written, tmp_path, change, places, message):
    with pytest.raises(InputError, match=message):
        read_ct(changed_series(written, tmp_path / "s", change, places))


@pytest.mark.parametrize(("decimals", "tag"), [(",", "0020|0032"), (",", "0028|0030")])
def test_a_number_with_a_comma_is_told_with_its_tag(written, tmp_path, decimals, tag):
    folder = tmp_path / "s"
    changed_series(written, folder, lambda *_: None)
    content = written[5].read_bytes()
    group, element = (int(part, 16).to_bytes(2, "little") for part in tag.split("|"))
    at = content.index(group + element) + 8
    dot = content.index(b".", at)
    (folder / written[5].name).write_bytes(content[:dot] + decimals.encode() + content[dot + 1 :])
    with pytest.raises(InputError, match=r"slice005\.dcm: \w+ \([\d,]+\) holds no numbers but '[-\d.,\\ ]+': correct"):
        read_ct(folder)


def test_text_in_place_of_a_number_is_not_repeated(written, tmp_path):
    folder = changed_series(written, tmp_path / "s", lambda *_: None)
    content = written[5].read_bytes()
    at = content.index(b"\x28\x00\x30\x00") + 8
    (folder / written[5].name).write_bytes(content[:at] + b"M" + content[at + 1 :])
    with pytest.raises(InputError, match=r"PixelSpacing \(0028,0030\) holds no numbers: correct the tag"):
        read_ct(folder)


def test_a_rescaling_that_is_no_number_is_refused(written, tmp_path):
    folder = changed_series(written, tmp_path / "series", setting())
    path = folder / written[3].name
    content = path.read_bytes()
    assert content.count(b"-1024 ") == 1
    path.write_bytes(content.replace(b"-1024 ", b"-10\t4 "))
    with pytest.raises(InputError, match=r"RescaleIntercept \(0028,1052\) holds no numbers"):
        read_ct(folder)


def overlay(with_origin):
    def change(item, _):
        values = np.frombuffer(item.PixelData, "<i2") & 0x7FFF
        item.PixelData = values.astype("<i2").tobytes()
        for element, vr, value in ((0x10, "US", item.Rows), (0x11, "US", item.Columns), (0x40, "CS", "G")):
            item.add_new(0x60000000 + element, vr, value)
        item.add_new(0x60000100, "US", 16)
        item.add_new(0x60000102, "US", 15)
        if with_origin:
            item.add_new(0x60000050, "SS", [1, 1])

    return change


def test_an_overlay_within_the_pixels_is_called_that(written, tmp_path):
    with pytest.raises(InputError, match=r"slice000\.dcm: has an overlay in its pixels \(OverlayBitPosition"):
        read_ct(changed_series(written, tmp_path / "s", overlay(with_origin=True)))


def rounded(decimals, mm):
    """Return a change to slices `mm` apart, their positions written with so many decimals."""

    def change(item, index):
        x, y, _ = item.ImagePositionPatient
        item.ImagePositionPatient = [x, y, f"{index * mm:.{decimals}f}"]

    return change


@pytest.mark.parametrize(("decimals", "mm"), [(1, 4.625), (0, 2.5), (0, 3.75), (2, 1.875), (1, 1.625)])
def test_positions_that_the_header_rounds_are_equidistant(ct, written, tmp_path, decimals, mm):
    found = read_ct(changed_series(written, tmp_path / "s", rounded(decimals, mm)))
    assert np.array_equal(array_of(found), array_of(ct))
    assert found.GetSpacing()[2] == pytest.approx(mm, abs=10.0**-decimals / (SLICES - 1))


@pytest.mark.parametrize(("decimals", "mm"), [(1, 4.625), (0, 2.5), (0, 3.75), (2, 1.875)])
@pytest.mark.parametrize("absent", [1, 20, SLICES - 2])
def test_a_missing_slice_is_noticed_whatever_the_rounding(written, tmp_path, decimals, mm, absent):
    def change(item, index):
        return index != absent and rounded(decimals, mm)(item, index)

    with pytest.raises(InputError, match="slices are missing"):
        read_ct(changed_series(written, tmp_path / "s", change))


@pytest.mark.parametrize(
    ("change", "places"),
    [
        (setting(ImageOrientationPatient=[1, 0.00049, 0, 0, 1, 0]), range(30)),
        (setting(ImageOrientationPatient=[1, 0.00051, 0, 0, 1, 0]), range(30, 60)),
        (setting(PixelSpacing=[4.0001, 3.9999]), range(0, SLICES, 3)),
        (lambda item, _: item.add_new(0x00180088, "DS", "0"), range(SLICES)),
        (lambda item, _: item.add_new(0x00180088, "DS", "0.0 "), [0]),
        (lambda item, _: item.add_new(0x00180088, "DS", ""), range(SLICES)),
        (lambda item, _: item.add_new(0x00180088, "DS", "-4"), range(SLICES)),
        (lambda item, _: item.add_new(0x00280008, "IS", ""), range(SLICES)),
        (overlay(with_origin=False), []),
        (lambda item, index: setattr(item, "AcquisitionNumber", index), range(SLICES)),  # one a table position
        (setting(AcquisitionNumber=2), range(32, SLICES)),  # in two parts
        (setting(ConvolutionKernel="B30f"), range(SLICES)),
        (moved(x=0.3), [30]),
    ],
)
def test_what_is_harmless_is_read_as_it_is(ct, written, tmp_path, change, places):
    found = read_ct(changed_series(written, tmp_path / "s", change, places))
    assert np.array_equal(array_of(found), array_of(ct))
    assert found.GetSpacing() == pytest.approx(ct.GetSpacing(), abs=1e-3)


def test_spacing_between_slices_of_0_may_be_implicit(ct, written, tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for path in written:
        item = pydicom.dcmread(path)
        item.SpacingBetweenSlices = 0
        item.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        item.save_as(folder / path.name)
    assert np.array_equal(array_of(read_ct(folder)), array_of(ct))


@pytest.mark.parametrize("missing", [["PixelSpacing"], ["ImagePositionPatient", "ImageOrientationPatient"]])
def test_a_scout_with_empty_tags_beside_the_ct_is_passed_over(ct, written, tmp_path, missing):
    folder = changed_series(written, tmp_path / "s", lambda *_: None)
    other = pydicom.dcmread(written[0])
    other.SeriesInstanceUID = "1.2.3.99"
    for name in missing:
        setattr(other, name, None)
    other.save_as(folder / "zz.dcm")
    assert np.array_equal(array_of(read_ct(folder)), array_of(ct))


def padded(value, signed, tag=True, limit=None):
    """Return a change that pads a corner of a slice with stored `value`."""

    def change(item, _):
        stored = np.frombuffer(item.PixelData, "<i2").astype(np.int64).reshape(item.Rows, item.Columns).copy()
        stored[:10, :10] = value
        item.PixelRepresentation = int(signed)
        item.PixelData = (stored & 0xFFFF).astype("<u2").tobytes()
        if tag:
            item.add_new(0x00280120, "SS" if signed else "US", value)
        if limit is not None:
            item.add_new(0x00280121, "SS" if signed else "US", limit)

    return change


@pytest.mark.parametrize(
    "change",
    [
        padded(63536, signed=False),
        padded(65535, signed=False),
        padded(4095, signed=False),
        padded(-2000, signed=True),
        padded(-32768, signed=True),
        padded(30000, signed=False, limit=31000),
        padded(31000, signed=False, limit=30000),
    ],
)
def test_padding_outside_the_field_of_view_is_air(ct, written, tmp_path, change):
    expected = array_of(ct).copy()
    expected[:, :10, :10] = -1024
    assert np.array_equal(array_of(read_ct(changed_series(written, tmp_path / "s", change))), expected)


def test_padding_within_the_range_of_a_ct_stays(ct, written, tmp_path):
    folder = changed_series(written, tmp_path / "s", lambda item, _: item.add_new(0x00280120, "SS", 1064))  # 40 HU
    assert np.array_equal(array_of(read_ct(folder)), array_of(ct))


def test_negative_values_kept_as_unsigned_are_refused(written, tmp_path):
    change = padded(63536, signed=False, tag=False)
    with pytest.raises(InputError, match=r"2\.\d% of the voxels lie at 24575 HU or above .*unsigned"):
        read_ct(changed_series(written, tmp_path / "s", change))
