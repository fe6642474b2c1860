"""Files that are no chest CT in Hounsfield units, or not a whole one: excluded, each with a reason of its own."""

import gzip
import os
import struct

import numpy as np
import SimpleITK as sitk
from hostile_case import Case, bytes_of, clean_ct, clean_lungs, file_of, header_of, with_geometry, with_values
from volumes import array_of, saved

_SPACING_X, _SIZE_X, _CODES, _OFFSET, _SFORM_X = (
    80,
    42,
    252,
    108,
    280,
)  # places in the header of NIfTI-1; codes of qform, sform, then quaternion
_ZEROS = gzip.compress(bytes(1 << 20), mtime=0)  # a megabyte in a kilobyte; members may follow each other


def one_voxel(slice_index, value):
    """Return the change of the values that puts one that is no number."""

    def change(hu):
        hu = hu.astype(np.float32)
        hu[slice_index, 5, 5] = value
        return hu

    return with_values(change)


def window(hu):
    """The lung window of a viewer, as a picture holds it."""
    return np.clip((hu + 1350) / 1500 * 255, 0, 255).astype(np.uint8)


def sheared(ct):
    """Slices that slide along y."""
    direction = np.eye(3)
    direction[1, 2] = 0.1
    return with_geometry(Direction=direction.ravel())(ct)


def only_spacings(content):
    """A NRRD header that says how large the voxels are, and not how they lie."""
    header, voxels = content.split(b"\n\n", 1)
    lines = [line for line in header.splitlines() if not line.startswith(b"space")]
    return b"\n".join([*lines, b"spacings: 4 4 5"]) + b"\n\n" + voxels


def no_matrix(content):
    """A MetaImage header without the axes."""
    return b"".join(line for line in content.splitlines(True) if not line.startswith(b"TransformMatrix"))


def data_file(name):
    """Return the change of a MetaImage file that names another data file."""
    return lambda content: content.replace(b"ElementDataFile = LOCAL", b"ElementDataFile = " + name)


def blank(hu, slices):
    """What a decoder leaves of slices that it could not read."""
    hu = hu.copy()
    hu[slices] = -1024
    return hu


def repeated(hu):
    """What a broken export writes."""
    hu = hu.copy()
    hu[31:36] = hu[30]
    return hu


def no_lung(hu):
    """The lungs filled with soft tissue."""
    hu[clean_lungs() > 0] = 40
    return hu


def head(folder):
    """A head in air: skull, brain, sinuses."""
    z, y, x = np.meshgrid(*(np.arange(count) * 3.0 - 1.5 * (count - 1) for count in (70, 80, 70)), indexing="ij")
    hu = np.full(z.shape, -1000)
    radius = np.sqrt((x / 75) ** 2 + (y / 95) ** 2 + (z / 90) ** 2)
    hu[radius < 1] = 40
    hu[(radius < 0.98) & (radius > 0.9)] = 900
    hu[radius < 0.9] = 35
    for side in (-1, 1):
        hu[(x - 25 * side) ** 2 + (y + 50) ** 2 + (z + 40) ** 2 < 15**2] = -1000
    hu = hu + np.random.default_rng(0).normal(0, 8, hu.shape)
    image = sitk.GetImageFromArray(np.rint(hu).astype(np.int16))
    image.SetSpacing((3.0, 3.0, 3.0))
    return saved(image, folder / "scan.nii.gz")


def round_field(ct):
    """A field of view for the spine or the heart: round, and narrower than the lungs."""
    hu = array_of(ct)
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]]
    outside = (y - 37) ** 2 + (x - 45) ** 2 > 24**2
    return with_values(lambda hu: np.where(outside, -2048, hu).astype(np.int16))(ct)


def bomb(folder):
    """2 GB of zeros, as its header says, in 2 MB."""
    header = bytearray(gzip.decompress(saved(clean_ct(), folder / "small.nii.gz").read_bytes())[:352])
    struct.pack_into("<3h", header, _SIZE_X, 1000, 1000, 1000)
    struct.pack_into("<3f", header, _SPACING_X, 0.4, 0.4, 0.4)
    path = folder / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(header), mtime=0) + _ZEROS * 1908)
    return path


def loop(folder):
    """Two links to each other."""
    (folder / "scan.nii.gz").symlink_to(folder / "other.nii.gz")
    (folder / "other.nii.gz").symlink_to(folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def forbidden(folder):
    """A file that only another user may read."""
    path = saved(clean_ct(), folder / "scan.nii.gz")
    path.chmod(0)
    return path


def pipe(folder):
    """A named pipe, which would wait for a writer for ever."""
    os.mkfifo(folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


FORMATS = {
    "missing": Case("no such file", lambda folder: folder / "scan.nii.gz", reason="no such file or folder"),
    "truncated-gzip": Case(
        "truncated gzip", bytes_of(lambda content: content[: len(content) // 2]), reason="gzip stream is truncated"
    ),
    "truncated-nifti": Case(
        "truncated NIfTI, not compressed",
        bytes_of(lambda content: content[: len(content) // 2], "scan.nii", "scan.nii"),
        reason="bytes are there: the file is truncated",
    ),
    "truncated-nrrd": Case(
        "truncated NRRD",
        bytes_of(lambda content: content[: len(content) // 2], "scan.nrrd", "scan.nrrd"),
        reason=r"scan\.nrrd: [\d,]+ of [\d,]+ bytes of voxels are there: the file is truncated",
    ),
    "empty": Case("empty file", bytes_of(lambda content: b""), reason="the file is empty"),
    "wrong-extension": Case(
        "NIfTI named .nrrd", bytes_of(lambda content: content, "scan.nrrd"), reason=r"content is not \.nrrd"
    ),
    "unknown-extension": Case(
        "NIfTI named .img", bytes_of(lambda content: content, "scan.img"), reason="not a known format"
    ),
    "text": Case(
        "text renamed .nii.gz", bytes_of(lambda content: b"Dear colleague,\n"), reason=r"content is not \.nii\.gz"
    ),
    "nifti-2": Case(
        "NIfTI-2",
        bytes_of(lambda content: gzip.compress(struct.pack("<i", 540) + b"n+2\0" + bytes(600))),
        reason="NIfTI-2 cannot be read",
    ),
    "2d": Case("2D", file_of(lambda ct: ct[:, :, 30]), reason="the image has 2 dimensions"),
    "4d": Case("4D, two phases", file_of(lambda ct: sitk.JoinSeries([ct, ct])), reason="the image has 4 dimensions"),
    "rgb": Case(
        "RGB", file_of(lambda ct: sitk.Compose([sitk.Cast(ct, sitk.sitkUInt8)] * 3)), reason="with 3 components"
    ),
    "complex": Case(
        "complex numbers",
        file_of(lambda ct: sitk.RealAndImaginaryToComplex(*[sitk.Cast(ct, sitk.sitkFloat32)] * 2)),
        reason="a voxel is complex",
    ),
    "bomb": Case("zip bomb: 2 MB that claim to be 2 GB", bomb, reason="claim to unpack to"),
    "bomb-behind": Case(
        "zip bomb behind a proper volume",
        bytes_of(lambda content: content + _ZEROS * 500),
        reason="holds more than the .* bytes that its header states",
    ),
    "absurd-size": Case(
        "header of 30,000 x 30,000 x 30,000 voxels",
        header_of(_SIZE_X, "<3h", 30000, 30000, 30000),
        reason="claims 30000 x 30000 x 30000 voxels",
    ),
    "loop": Case("loop of symbolic links", loop, reason="Too many levels of symbolic links"),
    "permissions": Case("unreadable file permissions", forbidden, reason=r"scan\.nii\.gz: .*Permission denied"),
    "pipe": Case("a named pipe", pipe, reason="neither a file nor a folder"),
}
VALUES = {
    "nan": Case("NaN", file_of(one_voxel(5, np.nan)), reason="slice 5 holds NaN"),
    "infinite": Case("infinities", file_of(one_voxel(7, np.inf)), reason="slice 7 holds infinite"),
    "constant": Case(
        "constant image", file_of(with_values(lambda hu: np.full_like(hu, -1000))), reason="every voxel is -1000"
    ),
    "offset": Case(
        "unsigned 16 bit with 1024 offset",
        file_of(with_values(lambda hu: (hu + 1024).astype(np.uint16))),
        reason="unsigned values keep an offset",
    ),
    "intercept-twice": Case(
        "rescale intercept applied twice",
        file_of(with_values(lambda hu: (hu - 1024).astype(np.int16))),
        reason="from -2048 to .* below air",
    ),
    "slope-twice": Case(
        "rescale slope of 3 applied twice",
        file_of(with_values(lambda hu: (3 * hu).astype(np.int16))),
        reason="from -3072 to .* below air",
    ),
    "lost-slices": Case(
        "three slices without an image inside the scan",
        file_of(with_values(lambda hu: blank(hu, slice(30, 33)))),
        reason="3 slices hold one value each",
    ),
    "repeated-slices": Case(
        "five slices that repeat one", file_of(with_values(repeated)), reason="5 slices are the one before once more"
    ),
    "window": Case("window-levelled, 8 bit", file_of(with_values(window)), reason="8-bit picture of one window"),
    "no-tissue": Case(
        "no soft tissue",
        file_of(with_values(lambda hu: np.where(hu > -500, 900, hu).astype(np.int16))),
        reason="are soft tissue",
    ),
    "no-air": Case(
        "no air", file_of(with_values(lambda hu: np.where(hu < -300, -250, hu).astype(np.int16))), reason="air or lung"
    ),
}
GEOMETRY = {
    "zero-spacing": Case("zero spacing", header_of(_SPACING_X, "<f", 0.0), reason=r"spacing is \(0\.0, "),
    "negative-spacing": Case("negative spacing", header_of(_SPACING_X, "<f", -4.0), reason=r"spacing is \(-4\.0, "),
    "nan-spacing": Case("NaN spacing", header_of(_SPACING_X, "<f", np.nan), reason=r"spacing is \(nan, "),
    "huge-spacing": Case(
        "huge spacing", file_of(with_geometry(Spacing=(40.0, 4.0, 5.0))), reason="spacing is 40 x 4 x 5 mm"
    ),
    "tiny-spacing": Case(
        "tiny spacing", file_of(with_geometry(Spacing=(0.05, 4.0, 5.0))), reason="spacing is 0.05 x 4 x 5 mm"
    ),
    "metres": Case(
        "spacing in metres", file_of(with_geometry(Spacing=(4e-3, 4e-3, 5e-3))), reason="spacing is 0.004 x"
    ),
    "sheared": Case("sheared affine", file_of(sheared, "scan.nrrd"), reason="axes are sheared by"),
    "no-orientation-nifti": Case(
        "NIfTI whose two codes of orientation are 0",
        header_of(_CODES, "<2h", 0, 0),
        reason="qform_code and sform_code are 0",
    ),
    "no-orientation-nrrd": Case(
        "NRRD with spacings, without space directions",
        bytes_of(only_spacings, "scan.nrrd", "scan.nrrd"),
        reason="lacks space directions",
    ),
    "no-orientation-mha": Case(
        "MetaImage without TransformMatrix", bytes_of(no_matrix, "scan.mha", "scan.mha"), reason="lacks TransformMatrix"
    ),
    "two-sizes": Case(
        "NIfTI with other voxels in pixdim than in the sform",
        header_of(_SPACING_X, "<3f", 3.2, 3.2, 4.0),
        reason="voxels are 4 x 4 x 5 mm by the header's sform, 3.2 x 3.2 x 4 mm by its pixdim",
    ),
    "two-orientations": Case(
        "NIfTI whose qform turns the patient round",
        header_of(_CODES, "<2h3f", 1, 1, 0.0, 0.0, 0.0),
        reason="qform and sform of the header differ by 180 degrees",
    ),
    "nan-origin": Case(
        "NIfTI with NaN in its offset", header_of(_SFORM_X + 12, "<f", np.nan), reason="sform holds NaN or infinity"
    ),
    "voxels-too-early": Case(
        "NIfTI whose voxels begin within the header",
        header_of(_OFFSET, "<f", 0.0),
        reason="vox_offset of the header is 0",
    ),
    "odd-code": Case(
        "NIfTI with a code of orientation of 26881",
        header_of(_CODES, "<h", 26881),
        reason="qform_code of the header is 26881",
    ),
    "printf-mha": Case(
        "MetaImage whose data file is `%s 1 65 1`",
        bytes_of(data_file(b"%s 1 65 1"), "scan.mha", "scan.mha"),
        reason="ElementDataFile of the header is not the plain name",
    ),
    "no-endian": Case(
        "NRRD without the order of bytes",
        bytes_of(lambda content: content.replace(b"endian: little\n", b""), "scan.nrrd", "scan.nrrd"),
        reason="endian of the header is missing",
    ),
    "tail": Case(
        "bytes behind the gzip stream",
        bytes_of(lambda content: content + b"\r\n"),
        reason="other bytes follow the gzip",
    ),
    "slab": Case("a slab of 12 slices", file_of(lambda ct: ct[:, :, 20:32]), reason="the volume measures"),
}
ANATOMY = {
    "no-lung": Case(
        "no lung", file_of(with_values(no_lung)), reason=r"no lung found: .* holds 0\.05 l", stage="segment"
    ),
    "head": Case("head CT", head, reason=r"no lung found: .* holds 0\.0[0-3] l", stage="segment"),
    "cut-top": Case(
        "lungs cut at the top",
        file_of(lambda ct: ct[:, :, :42]),
        reason="lies on the top face of the volume",
        stage="segment",
    ),
    "cut-bottom": Case(
        "lungs cut at the bottom",
        file_of(lambda ct: ct[:, :, 18:]),
        reason="lies on the bottom face of the volume",
        stage="segment",
    ),
    "cut-round": Case(
        "lungs outside a round field of view",
        file_of(round_field),
        reason=r"no lung found: .* holds 0\.(09|10) l",
        stage="segment",
    ),
}
