"""DICOM folders, good and bad."""

import numpy as np
import pydicom
import SimpleITK as sitk
from hostile_case import NEAR, Case, clean_ct
from volumes import array_of, write_dicom

_GEOMETRY = {"0008|0060": "CT", "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL", "0020|000e": "1.2.3.1", "0020|000d": "1.2.3"}
_GEOMETRY |= {"0020|0037": "1\\0\\0\\0\\1\\0", "0028|1052": "-1024", "0028|1053": "1"}


def series(harm=lambda folder, paths: None, **changes):
    """Return what writes the clean scan as a DICOM series, and then does something to its folder or files."""

    def make(folder):
        scan = folder / "series"
        harm(scan, write_dicom(scan, clean_ct(), **changes))
        return scan

    return make


def each_slice(change):
    """Return the harm that changes every slice: `change(dataset, index)`."""

    def harm(folder, paths):
        for index, path in enumerate(paths):
            item = pydicom.dcmread(path)
            change(item, index)
            item.save_as(path)

    return harm


def beside(slices=None, **changes):
    """Return the harm that writes another series, of the first so many slices, into the folder."""
    return lambda folder, paths: write_dicom(folder, clean_ct()[:, :, :slices], series="2", prefix="other", **changes)


def jpeg(compressor):
    """Return what writes the clean scan slice by slice, losslessly compressed by ITK."""

    def make(folder):
        (folder / "series").mkdir()
        ct = clean_ct()
        for index in range(ct.GetSize()[2]):
            plane = ct[:, :, index : index + 1]
            place = "\\".join(str(value) for value in ct.TransformIndexToPhysicalPoint((0, 0, index)))
            for tag, text in {**_GEOMETRY, "0020|0032": place}.items():
                plane.SetMetaData(tag, text)
            writer = sitk.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.SetFileName(str(folder / "series" / f"{index:03d}.dcm"))
            writer.UseCompressionOn()
            writer.SetCompressor(compressor)
            writer.KeepOriginalImageUIDOn()
            writer.Execute(plane)
        return folder / "series"

    return make


def without_suffix(folder, paths):
    """Names as scanners give them."""
    for number, path in enumerate(paths):
        path.rename(folder / f"IM{number:05d}")


def other_files(folder, paths):
    """Files that lie in such folders."""
    (folder / "README").write_text("not an image")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def apple_doubles(folder, paths):
    """What a Mac leaves beside each file on a disk of another system."""
    for path in paths:
        (folder / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")


def loop_inside(folder, paths):
    """A link from the folder to itself."""
    (folder / "again").symlink_to(folder)


def tilt(item, index):
    """10 degrees between the stack and the slices."""
    item.ImagePositionPatient[1] += index * 5.0 * np.tan(np.radians(10))


def drop_position(item, index):
    """One slice could lie anywhere."""
    if index == 10:
        del item.ImagePositionPatient


def halve_position(item, index):
    """One slice says where it lies in a plane only."""
    if index == 10:
        item.ImagePositionPatient = item.ImagePositionPatient[:2]


def one_slice(place, **values):
    """Return the harm that sets attributes of one slice."""

    def change(item, index):
        if index == place:
            for name, value in values.items():
                setattr(item, name, value)

    return each_slice(change)


def unscaled(item, index):
    """One slice that lost its rescaling."""
    if index == 12:
        del item.RescaleIntercept, item.RescaleSlope


def beside_the_others(item, index):
    """One slice of another field of view."""
    if index == 14:
        item.ImagePositionPatient[0] += 30


def second_reconstruction(folder, paths):
    """A sharp reconstruction under the same series, half a gap higher."""
    for path in write_dicom(folder, clean_ct(), prefix="sharp", ConvolutionKernel="B80f"):
        item = pydicom.dcmread(path)
        item.ImagePositionPatient[2] += 2.5
        item.save_as(path)


def padded_as_unsigned(item, _):
    """Outside of the field of view -2000, kept as 63536, and said so."""
    stored = np.frombuffer(item.PixelData, "<i2").astype(np.int64).reshape(item.Rows, item.Columns).copy()
    stored[:8, :8] = 63536
    item.PixelRepresentation, item.PixelData = 0, stored.astype("<u2").tobytes()
    item.add_new(0x00280120, "US", 63536)


def empty_tags(item, _):
    """Attributes without a value, which an export writes for unknown ones."""
    item.add_new(0x00280008, "IS", "")
    item.add_new(0x00180088, "DS", "0")


def multi_frame(folder, paths):
    """All slices in one file."""
    voxels = (array_of(clean_ct()).astype(np.int32) + 1024).astype(np.int16)
    for path in paths:
        path.unlink()
    write_dicom(folder, clean_ct()[:, :, :1], NumberOfFrames=len(voxels), PixelData=voxels.tobytes())


def truncate(item):
    """Return the harm that keeps the first third of one slice's file."""
    return lambda folder, paths: paths[item].write_bytes(paths[item].read_bytes()[: paths[item].stat().st_size // 3])


ACCEPTED = {
    "dicom": Case("DICOM series, names in another order than the slices", series()),
    "dicom-no-suffix": Case("DICOM files without suffix", series(without_suffix)),
    "dicom-rle": Case(
        "DICOM, run-length encoded",
        series(each_slice(lambda item, _: item.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom"))),
    ),
    "dicom-jpeg": Case("DICOM, lossless JPEG", jpeg("JPEG")),
    "dicom-jpeg2000": Case("DICOM, lossless JPEG 2000", jpeg("JPEG2000")),
    "dicom-localizer": Case(
        "localizer beside the CT", series(beside(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    ),
    "dicom-short-series": Case("short second series beside the CT", series(beside(12))),
    "dicom-sagittal": Case(
        "sagittal reformat beside the CT", series(beside(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))
    ),
    "dicom-mr-beside": Case("MR beside the CT", series(beside(Modality="MR"))),
    "dicom-other-files": Case("text file, DICOMDIR and hidden file beside the slices", series(other_files)),
    "dicom-mac": Case("a hidden twin of each slice, as a Mac makes them (`._NAME.dcm`)", series(apple_doubles)),
    "dicom-padding": Case("padding of -2000 kept as unsigned, and named", series(each_slice(padded_as_unsigned)), NEAR),
    "dicom-empty-tags": Case("NumberOfFrames without a value, SpacingBetweenSlices 0", series(each_slice(empty_tags))),
    "dicom-loop-inside": Case("link from the DICOM folder to itself", series(loop_inside)),
}
EXCLUDED = {
    "tilt": Case("gantry tilt", series(each_slice(tilt)), reason="gantry was tilted by 10.0 degrees"),
    "missing-slice": Case(
        "missing slice", series(lambda folder, paths: paths[20].unlink()), reason="slices are missing"
    ),
    "duplicated-slice": Case(
        "duplicated slice",
        series(lambda folder, paths: (folder / "copy.dcm").write_bytes(paths[20].read_bytes())),
        reason="lie where another lies already",
    ),
    "two-series": Case(
        "two plausible CT series", series(beside(60)), reason=r"2 series that could be the CT \(slices: 64, 60\)"
    ),
    "unreadable-slice": Case(
        "empty file among the slices",
        series(lambda folder, paths: paths[20].write_bytes(b"")),
        reason=r"slice020\.dcm: this DICOM slice cannot be read",
    ),
    "truncated-slice": Case(
        "truncated file among the slices",
        series(truncate(30)),
        reason=r"slice030\.dcm: this DICOM slice cannot be read",
    ),
    "permissions-slice": Case(
        "slice that only another user may read",
        series(lambda folder, paths: paths[20].chmod(0)),
        reason=r"slice020\.dcm: .*Permission denied",
    ),
    "placeless-slice": Case(
        "slice without a position",
        series(each_slice(drop_position)),
        reason=r"slice010\.dcm: lacks ImagePositionPatient",
    ),
    "two-coordinates": Case(
        "slice with a position of two numbers",
        series(each_slice(halve_position)),
        reason=r"slice010\.dcm: ImagePositionPatient \(0020,0032\) has 2 values",
    ),
    "another-size": Case(
        "slice with voxels of another size",
        series(one_slice(11, PixelSpacing=[3.2, 3.2])),
        reason=r"slice011\.dcm: PixelSpacing \(0028,0030\) is 3.2 x 3.2 mm, of most",
    ),
    "unscaled-slice": Case(
        "slice without a rescale intercept",
        series(each_slice(unscaled)),
        reason=r"slice012\.dcm: has no RescaleIntercept",
    ),
    "inverted-slice": Case(
        "slice that is MONOCHROME1",
        series(one_slice(13, PhotometricInterpretation="MONOCHROME1")),
        reason=r"slice013\.dcm: has another PhotometricInterpretation",
    ),
    "shifted-slice": Case(
        "slice 30 mm beside the others",
        series(each_slice(beside_the_others)),
        reason=r"slice014\.dcm: .* beside the line",
    ),
    "left-justified": Case(
        "12 bits kept left-justified", series(BitsStored=12), reason=r"HighBit \(0028,0102\) is 15, BitsStored"
    ),
    "two-reconstructions": Case(
        "two kernels in one series", series(second_reconstruction), reason=r"the CT \(slices: 64, 64\): move the one"
    ),
    "mr": Case("MR series", series(Modality="MR"), reason="modalities found: MR"),
    "few-slices": Case(
        "only 5 slices", series(lambda folder, paths: [path.unlink() for path in paths[5:]]), reason="has 5 slices"
    ),
    "multi-frame": Case("multi-frame DICOM", series(multi_frame), reason=r"files: 1;.*one slice per file"),
    "empty-folder": Case(
        "folder without an image",
        series(lambda folder, paths: [path.unlink() for path in paths]),
        reason="holds no DICOM image",
    ),
}
