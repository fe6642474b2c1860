"""Headers that state what no volume has are refused before ITK reads them; their remedies say what will help."""

import gzip
import locale
import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
import SimpleITK as sitk
from volumes import array_of, saved, thorax

from drasclr_core.base.errors import InputError
from drasclr_core.scan.images import read_ct


@pytest.fixture(scope="module")
def ct():
    return thorax((4.0, 4.0, 4.0)).ct


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        read_ct(path)
    assert path.name in str(caught.value)


# ---- NIfTI


def nifti(ct, path, kinds, at, *values):
    """Write a NIfTI file with other numbers at a byte of its header."""
    content = bytearray(gzip.decompress(saved(ct, path.with_name("whole.nii.gz")).read_bytes()))
    struct.pack_into(f"<{kinds}", content, at, *values)
    path.write_bytes(gzip.compress(bytes(content)) if path.name.endswith(".gz") else bytes(content))
    return path


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize(
    ("kinds", "at", "values", "message"),
    [
        *(("f", 108, [value], "vox_offset of the header is") for value in (0, 348, 351, 352.5, -352, np.nan, np.inf)),
        ("4s", 344, [b"ni1\0"], "magic is not n.1"),
        ("f", 292, [np.nan], "sform holds NaN"),
        ("f", 280, [np.inf], "sform holds NaN or infinity"),
        ("2hf", 252, [1, 0, np.nan], "qform holds NaN"),
        ("2h6f", 252, [1, 0, 0, 0, 0, np.nan, 0, 0], "qform holds NaN"),
        ("2h3f", 252, [1, 0, 0.9, 0.9, 0], "quaternion is longer than 1"),
        ("h", 252, [26881], "qform_code of the header is 26881, not 0 to 5"),
        ("h", 254, [-7], "sform_code of the header is -7"),
    ],
)
def test_numbers_that_a_nifti_header_cannot_hold(ct, tmp_path, name, kinds, at, values, message):
    refused(nifti(ct, tmp_path / name, kinds, at, *values), message)


def test_what_is_no_number_where_nobody_looks_is_harmless(ct, tmp_path):
    path = nifti(ct, tmp_path / "scan.nii.gz", "2h6f", 252, 0, 1, *[np.nan] * 6)  # a qform that does not count
    assert np.array_equal(array_of(read_ct(path)), array_of(ct))


@pytest.mark.parametrize("tail", [b"\r\n", b"more", b"\x1f\x8bxx"])
def test_bytes_behind_the_stream_are_called_that(ct, tmp_path, tail):
    path = saved(ct, tmp_path / "scan.nii.gz")
    path.write_bytes(path.read_bytes() + tail)
    refused(
        path, "follow the gzip stream, which is whole" if tail[0] != 0x1F else "gzip stream is truncated or damaged"
    )


# ---- NRRD and MetaImage


def edited(ct, path, *changes, compress=False):
    """Write a volume and change its header: (old, new) each, where an old one that is None stands for the last line."""
    saved(ct, path, compress)
    content = path.read_bytes()
    for old, new in changes:
        assert content.count(old) == 1
        content = content.replace(old, new)
    path.write_bytes(content)
    return path


META = {
    "NDims = 3": [
        (b"NDims = -3", "NDims of the header is '-3', not 3"),
        (b"NDims = 2", "the image has 2 dimensions"),
        (b"NDims = 3\nNDims = 3", "NDims twice"),
    ],
    "DimSize = 75 55 65": [
        (b"DimSize = 75 55", "DimSize of the header is '75 55', not 3 whole numbers"),
        (b"DimSize = 75 55 -65", "DimSize of the header"),
        (b"DimSize = 75 55 6.5e1", "DimSize of the header"),
        (b"DimSize = 75 55 66", "bytes of voxels are there: the file is truncated"),
        (b"DimSize = 75 55 64", "holds more than the"),
        (b"DimSize = 99999 99999 99999", "more than the"),
    ],
    "ElementType = MET_SHORT": [
        (b"ElementType = MET_STRING", "one real number a voxel"),
        (b"ElementNumberOfChannels = 3\nElementType = MET_SHORT", "one real number a voxel"),
        (b"HeaderSize = 4\nElementType = MET_SHORT", "HeaderSize of the header is '4', not 0"),
        (b"ElementToIntensityFunctionSlope = 2\nElementType = MET_SHORT", "FunctionSlope of the header is '2', not 1"),
        (b"what is this\nElementType = MET_SHORT", "a line that no MetaImage has"),
        (b"Comment = \x1b[2J\nElementType = MET_SHORT", "what is no text"),
    ],
    "Offset = -150 -110 20": [
        (b"Offset = -150 -110 nan", "Offset of the header is .*, not 3 finite numbers"),
        (b"Offset = -150 -110 1e999", "not 3 finite numbers"),
        (b"Offset = -150 -110 20\nOrigin = 0 0 0", "both Offset and Origin"),
    ],
    "BinaryData = True": [(b"BinaryData = False", "BinaryData of the header is not True")],
    "CompressedData = False": [(b"CompressedData = maybe", "CompressedData of the header is not True or False")],
    "ElementDataFile = LOCAL": [
        (b"ElementDataFile = %s 1 65 1", "not the plain name of one file"),
        (b"ElementDataFile = %n", "not the plain name of one file"),
        (b"ElementDataFile = ../secret.raw", "not the plain name of one file"),
        (b"ElementDataFile = /dev/zero", "not the plain name of one file"),
        (b"ElementDataFile = LIST", "not the plain name of one file"),
        (b"ElementDataFile = away.raw", "the file of its voxels, which its ElementDataFile names, is not beside it"),
        (b"ElementDataFile = pipe", "what its ElementDataFile names is no plain file"),
        (b"ElementDataFile = folder", "what its ElementDataFile names is no plain file"),
        (b"ElementDataFile =", "not the plain name of one file"),
        (b"Element = LOCAL", "lacks ElementDataFile"),
    ],
}
NRRD = {
    "type: short": [
        (b"type: block", "type of the header is not a number"),
        (b"type: short\ntype: int", "type twice"),
    ],
    "dimension: 3": [(b"dimension: 2", "the image has 2 dimensions"), (b"dimension: -3", "dimension of the header")],
    "sizes: 75 55 65": [
        (b"sizes: 75 55 66", "the file is truncated"),
        (b"sizes: 75 55 64", "holds more than the"),
        (b"sizes: 75 55", "sizes of the header is '75 55', not 3 whole"),
    ],
    "endian: little\n": [
        (b"", "endian of the header is missing; it should be little or big"),
        (b"endian: middle\n", "endian of the header is not little or big"),
        (b"endian: little\nbyte skip: 2\n", "byte skip of the header is '2', not 0"),
        (b"endian: little\nwhat is this\n", "a line that no NRRD has"),
        (b"endian: little\ndata file: ../secret.raw\n", "not the plain name of one file"),
        (b"endian: little\ndata file: LIST\n", "not the plain name of one file"),
        (b"endian: little\ndata file: slice%03d.raw 1 65 1\n", "not the plain name of one file"),
        (b"endian: little\ndata file: pipe\n", "what its data file names is no plain file"),
    ],
    "encoding: raw": [
        (b"encoding: bzip2", "encoding of the header is not raw or gzip"),
        (b"encoding: ascii", "encoding of the header is not raw or gzip"),
    ],
    "space origin: (-150,-110,20)": [
        (b"space origin: (-150,-110,nan)", "space origin of the header is"),
        (b"space origin: (-150,-110)", "space origin of the header is .*, not 1 vectors of 3 numbers"),
    ],
    "space directions: (4,0,0) (0,4,0) (0,0,4)": [
        (b"space directions: (4,0,0) (0,4,0)", "space directions of the header is"),
        (b"space directions: (4,0,0) (0,4,0) (0,0,0)", "voxel spacing is 4 x 4 x 0 mm"),
        (b"space directions: (4,0,0) (0,4,0) (0,0,inf)", "space directions of the header is"),
    ],
}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [("scan.mha", old, *case) for old, cases in META.items() for case in cases]
    + [("scan.nrrd", old, *case) for old, cases in NRRD.items() for case in cases],
)
def test_a_header_that_states_what_no_volume_has(ct, tmp_path, name, old, new, message):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    refused(edited(ct, tmp_path / name, (old.encode(), new)), message)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("scan.mha", (b"DimSize", b"0010|0010 = Some One\nDimSize")),  # what SimpleITK writes of a header
        ("scan.mha", (b"ObjectType", b"Comment = of a program\nObjectType")),
        ("scan.mha", (b"\nOffset", b"\nPosition")),
        ("scan.mha", (b"ElementType", b"ElementNumberOfChannels = 1\nElementType")),
        ("scan.nrrd", (b"type: short", b"# a comment\nkey:=a value: (of a program)\ntype: int16")),
        ("scan.nrrd", (b"space: left-posterior-superior", b"space: LPS")),
        ("scan.nrrd", (b"kinds: domain domain domain\n", b"")),
    ],
)
def test_a_header_that_says_it_in_another_way_is_read(ct, tmp_path, name, change):
    found = read_ct(edited(ct, tmp_path / name, change))
    assert np.array_equal(array_of(found), array_of(ct))
    assert found.IsSameImageGeometryAs(ct, 1e-6, 1e-9)


@pytest.mark.parametrize("space", ["right-anterior-superior", "left-anterior-superior"])
def test_other_spaces_are_brought_to_lps(ct, tmp_path, space):
    found = read_ct(edited(ct, tmp_path / "scan.nrrd", (b"left-posterior-superior", space.encode())))
    signs = np.array([-1 if space.startswith("right") else 1, -1, 1])
    assert found.GetOrigin() == pytest.approx(signs * ct.GetOrigin())
    assert found.GetDirection() == pytest.approx(np.diag(signs).ravel())


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd"])
@pytest.mark.parametrize("harm", ["cut", "flip", "tail"])
def test_damage_of_compressed_voxels_is_noticed(ct, tmp_path, name, harm):
    path = saved(ct, tmp_path / name)
    content = bytearray(path.read_bytes())
    if harm == "cut":
        content = content[:-2]
    elif harm == "flip":
        content[-3] ^= 1  # in the checksum
    else:
        content += b"more"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bytes follow|damaged|lack their end|bytes that are there"):
        read_ct(path)


@pytest.mark.parametrize(("name", "data"), [("scan.mhd", "scan.zraw"), ("scan.nhdr", "scan.raw.gz")])
def test_a_bomb_in_a_file_beside_the_header_is_refused(ct, tmp_path, name, data):
    path = saved(ct, tmp_path / name)
    header = path.read_bytes()
    old = b"75 55 65"
    assert header.count(old) == 1
    path.write_bytes(header.replace(old, b"1000 1000 1000"))
    assert (tmp_path / data).stat().st_size < 2e9 / 200
    refused(path, "claim to unpack to 2,000,000,000")


def test_a_header_is_read_alike_in_a_language_with_decimal_commas(tmp_path, monkeypatch):
    if shutil.which("localedef") is None:
        pytest.skip("there is no localedef to make such a language with")
    folder = tmp_path / "locales"
    folder.mkdir()
    command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    if subprocess.run(command, check=False, capture_output=True).returncode > 1:
        pytest.skip("localedef lacks the sources of such a language")
    ct = thorax((3.9, 4.1, 5.2)).ct
    expected = read_ct(saved(ct, tmp_path / "scan.nrrd"))
    monkeypatch.setenv("LOCPATH", str(folder))
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
        assert locale.localeconv()["decimal_point"] == ","
        found = read_ct(tmp_path / "scan.nrrd")
        assert locale.localeconv()["decimal_point"] == ","
    finally:
        locale.setlocale(locale.LC_ALL, before)
    assert found.GetSpacing() == expected.GetSpacing() == pytest.approx((3.9, 4.1, 5.2))
    assert isinstance(found, sitk.Image)
