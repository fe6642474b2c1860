"""Headers full of marks: text, dates, times, identifiers that no output may hold; and the search for them."""

import base64
import gzip
import io
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pyarrow.parquet
import pydicom
import SimpleITK as sitk
import zarr
from PIL import Image
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from volumes import array_of, write_dicom

STEM = "ZQXHDRPV"
DATE, TIME, AGE, UID_ROOT = "19530417", "035959.424242", "087Y", "1.2.826.0.1.99887766"
WORDS = (STEM, DATE, "1953-04-17", TIME, "03:59:59.42", UID_ROOT)  # an age of four letters may stand anywhere by chance

_VALUES = {
    **dict.fromkeys(("AE", "CS", "SH", "LO", "ST", "LT", "UT", "UC", "UR"), f"{STEM}{{:04X}}"),
    "PN": f"{STEM}^{{:04X}}",
    "UI": f"{UID_ROOT}.{{}}",
    **{"DA": DATE, "TM": TIME, "DT": DATE + TIME, "AS": AGE},
}
_STRUCTURE = {0x0000, 0x0002, 0x0004, 0x0028, 0x7FE0}  # groups: file, folder and pixels
_READ = {0x00080005, 0x00080008, 0x00080016, 0x00080060}  # character set, image type, class, modality
_NAMES = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate", "InstitutionName")
_NAMES += ("ReferringPhysicianName", "StudyDescription", "SeriesDescription", "ImageComments", "SeriesTime")
_NAMES += ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "DeviceSerialNumber", "StationName")


def marked_elements(names=None):
    """Return an element of every kind that can hold text, a date, a time or a UID, each marked; `names`: only those."""
    marks = pydicom.Dataset()
    for number, (tag, (kind, *_, name)) in enumerate(sorted(DicomDictionary.items())):
        if kind in _VALUES and tag >> 16 not in _STRUCTURE and tag not in _READ and (names is None or name in names):
            marks[tag] = DataElement(tag, kind, _VALUES[kind].format(number))
    marks.RequestAttributesSequence = [pydicom.Dataset()]
    marks.RequestAttributesSequence[0].ScheduledProcedureStepDescription = f"{STEM} in a sequence"
    for group in (0x0009, 0x0011, 0x0029):
        private = marks.private_block(group, f"{STEM} PRIVATE", create=True)
        private.add_new(1, "LO", f"{STEM} private")
        private.add_new(2, "UN", f"{STEM} of unknown kind".encode())
    return marks


def write_marked_dicom(folder, ct, **changes):
    """Write a series with marks in every slice, in the first those of the whole dictionary; return the paths."""
    paths = write_dicom(folder, ct)
    few, all_of_them = marked_elements(_NAMES), marked_elements()
    for number, path in enumerate(paths):
        item = pydicom.dcmread(path)
        item.update(few if number else all_of_them)
        item.preamble = STEM.encode().ljust(128, b"\0")
        item.file_meta.SourceApplicationEntityTitle = STEM
        for name, value in changes.items():
            item[name] = DataElement(name, "LO", value)  # as text, whatever belongs there
        item.save_as(path)
    return paths


def write_marked_nifti(path, image):
    """Write NIfTI with marks in each text of its header, in an extension, and in the gzip stream's own header."""
    affine = np.diag([*image.GetSpacing(), 1.0]) @ np.diag([-1, -1, 1, 1])
    affine[:3, 3] = np.multiply(image.GetOrigin(), (-1, -1, 1))
    nifti = nibabel.Nifti1Image(np.transpose(array_of(image)), affine)
    for name in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        nifti.header[name] = STEM.encode()
    nifti.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", f"{STEM} {DATE}".encode()))
    content = io.BytesIO()
    with gzip.GzipFile(f"{STEM}.nii", "wb", 1, content) as file:
        file.write(nifti.to_bytes())
    path.write_bytes(content.getvalue())
    return path


def write_marked_nrrd(path, image, harm=lambda header: header):
    """Write NRRD with marks in comments, fields and key-value pairs; `harm` changes the header."""
    header = f"""NRRD0005
# {STEM}
content: {STEM}
type: short
dimension: 3
sizes: {_numbers(image.GetSize())}
space: left-posterior-superior
space directions: {" ".join(f"({_numbers(row, ',')})" for row in np.diag(image.GetSpacing()))}
space origin: ({_numbers(image.GetOrigin(), ",")})
sample units: "{STEM}"
labels: "{STEM}" "{STEM}" "{STEM}"
encoding: raw
endian: little
PatientName:={STEM}
{STEM}:={DATE}

"""
    path.write_bytes(harm(header).encode() + array_of(image).astype("<i2").tobytes())
    return path


def write_marked_meta(path, image, harm=lambda header: header):
    """Write MetaImage with marks in its comment, name and fields of its own; `harm` changes the header."""
    header = f"""ObjectType = Image
NDims = 3
Comment = {STEM} {DATE}
Name = {STEM}
BinaryData = True
BinaryDataByteOrderMSB = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = {_numbers(image.GetOrigin())}
ElementSpacing = {_numbers(image.GetSpacing())}
DimSize = {_numbers(image.GetSize())}
PatientName = {STEM}
StudyDate = {DATE}
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
    path.write_bytes(harm(header).encode() + array_of(image).astype("<i2").tobytes())
    return path


def _numbers(values, between=" "):
    return between.join(f"{value:.9g}" for value in values)


def marked_files(folder):
    """Return the files below a folder that hold a mark, in their names or their content, however it is packed."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return [path for path in files if any(map(is_marked, _contents(path, path.relative_to(folder))))]


def is_marked(content):
    """Whether bytes hold a mark: as text in one or two bytes a letter, in whatever case, or in base64."""
    lowered = content.lower()
    return any(needle in lowered for needle in _PLAIN) or any(needle in content for needle in _ENCODED)


def _contents(path, name):
    """Yield all that a file says: its name, its bytes, and what they unpack to."""
    content = path.read_bytes()
    yield str(name).encode()
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    elif content.startswith(b"\x89PNG"):
        yield repr(Image.open(io.BytesIO(content)).info).encode()
    elif content.startswith(b"PAR1"):
        yield repr(pyarrow.parquet.read_schema(path).metadata).encode()
        yield pd.read_parquet(path).to_csv().encode()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(member) for member in archive.namelist())
    elif path.name == "zarr.json" and b'"array"' in content:
        yield np.ascontiguousarray(zarr.open_array(path.parent, mode="r")[...]).tobytes()


def _aligned(word):
    """Return the parts of a word's base64 that do not depend on what stands before and after it, for each alignment."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + word.encode())
        yield encoded[-(-before * 8 // 6) : (before + len(word)) * 8 // 6]


_PLAIN = [form for word in WORDS for form in (word.lower().encode(), word.lower().encode("utf-16-le")[:-1])]
_ENCODED = [form for word in WORDS for form in _aligned(word)]


def pack_marks(folder):
    """Write a mark in every packing that the search must see through; return name -> the file that holds it."""
    folder.mkdir()
    picture = Image.new("L", (2, 2))
    frame = pd.DataFrame({"a": ["x", f"by {STEM.lower()}"]})
    about = pd.DataFrame({"a": [1]})
    about.attrs = {"by": STEM}
    letters = np.frombuffer(f"a long text and then {STEM} ".encode() * 9, np.uint8)
    contents = {
        "text": f"a log: {STEM.lower()}".encode(),
        "date": b"1953-04-17",
        "uid": f"{UID_ROOT}.7".encode(),
        "two-bytes": f"a {STEM}".encode("utf-16-be"),
        "gzip": gzip.compress(f"a {STEM}".encode()),
        **{f"base64-{n}": base64.b64encode(b"a" * n + STEM.encode() + b"tail") for n in range(3)},
        "other-date": DATE.encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", STEM * 9)
    for name, compressed in (("plain.png", False), ("packed.png", True)):
        said = _png_text(compressed)
        picture.save(folder / name, pnginfo=said)
    frame.to_parquet(folder / "values.parquet", compression="zstd")
    about.to_parquet(folder / "about.parquet")
    store = zarr.create_array(folder / "array.zarr", data=letters)
    store.attrs["nothing"] = 1
    (folder / f"of-{STEM}").write_bytes(b"")
    image = sitk.Image(12, 12, 12, sitk.sitkInt16)
    read = sitk.ReadImage(str(write_marked_nifti(folder / "given.nii.gz", image)))
    sitk.WriteImage(read, str(folder / "through-itk.nii.gz"))  # what a workflow would do that is not careful
    return folder


def _png_text(compressed):
    from PIL.PngImagePlugin import PngInfo

    said = PngInfo()
    said.add_text("Comment", STEM, zip=compressed)
    return said
