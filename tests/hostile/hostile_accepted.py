"""Scans that are odd and good: accepted, with the features of the clean scan."""

import nibabel
import numpy as np
import SimpleITK as sitk
from hostile_case import (
    NEAR,
    NO_COMPARISON,
    RESAMPLED,
    Case,
    clean_ct,
    clean_lungs,
    file_of,
    turned_grid,
    with_geometry,
    with_values,
)
from volumes import array_of, image_like, saved, turned

SLICES = 2000


def padded(value):
    """Return the change that puts `value` wherever the round field of view does not reach."""

    def change(hu):
        y, x = np.mgrid[: hu.shape[1], : hu.shape[2]]
        off_middle = (y - (hu.shape[1] - 1) / 2) ** 2 + (x - (hu.shape[2] - 1) / 2) ** 2
        return np.where(off_middle > (hu.shape[2] / 2) ** 2, value, hu).astype(np.int16)

    return with_values(change)


def table_in_front(ct):
    """A table, foam in a shell, before the chest: the patient lies face down, or the picture is upside down."""
    ct = sitk.ConstantPad(ct, (0, 15, 0), (0, 0, 0), -1000)
    hu = array_of(ct)
    hu[:, 3:13, 15:75] = -100
    hu[:, 4:12, 16:74] = -930
    return image_like(ct, hu)


def metal(hu):
    """A pacemaker under the skin, beyond the range of a CT, and its streaks through the chest."""
    hu[40:44, 13] += np.where(np.arange(hu.shape[2]) % 2, 300, -300).astype(np.int16)
    hu[40:44, 10:13, 20:28] = 32000
    return hu


def one_lung(hu):
    """No air where the left lung was."""
    hu[clean_lungs() == 2] = 40
    return hu


def filled(hu):
    """A mass in the right lung, which leaves air above, below and behind it."""
    z, y, x = np.nonzero(clean_lungs() == 1)
    low, high, deep = *np.quantile(z, (0.2, 0.8)), np.quantile(y, 0.75)
    mass = (low < z) & (z < high) & (y < deep)
    hu[z[mass], y[mass], x[mass]] = 40
    return hu


def many_slices(folder):
    """Slices of 0.2 mm, the lowest repeated, with noise of its own, as if the scan went on to the knees."""
    scan = thin(clean_ct(), 0.2)
    hu = array_of(scan)
    legs = np.repeat(hu[:1], SLICES - len(hu), axis=0)
    legs[:, 0, 0] = np.arange(len(legs)) % 2 - 1001
    whole = sitk.GetImageFromArray(np.concatenate([legs, hu]))
    whole.SetSpacing(scan.GetSpacing())
    return saved(whole, folder / "scan.nii.gz")


def big_endian(folder):
    """NIfTI as a machine of the other order of bytes writes it."""
    image = nibabel.load(saved(clean_ct(), folder / "little.nii"))
    nibabel.save(nibabel.Nifti1Image(image.dataobj, None, image.header.as_byteswapped()), folder / "scan.nii")
    return folder / "scan.nii"


def renamed(folder):
    """A name as people give."""
    return saved(clean_ct(), folder / "scan.nii.gz").rename(folder / "Müller CT.NII.GZ")


def linked(folder):
    """A link to the scan in another folder."""
    (folder / "archive").mkdir()
    saved(clean_ct(), folder / "archive" / "original.nii.gz")
    (folder / "scan.nii.gz").symlink_to(folder / "archive" / "original.nii.gz")
    return folder / "scan.nii.gz"


def thin(ct, slice_mm=0.5):
    """The same volume in thinner slices."""
    spacing_mm = (*ct.GetSpacing()[:2], slice_mm)
    size = (*ct.GetSize()[:2], round((ct.GetSize()[2] - 1) * ct.GetSpacing()[2] / slice_mm) + 1)
    return sitk.Resample(ct, size, sitk.Transform(), sitk.sitkLinear, ct.GetOrigin(), spacing_mm, ct.GetDirection())


def thick(ct):
    """Two slices of 5 mm averaged to one of 10 mm."""
    hu = array_of(ct).astype(np.float64)
    image = sitk.GetImageFromArray(np.rint((hu[::2] + hu[1::2]) / 2).astype(np.int16))
    image.SetSpacing((*ct.GetSpacing()[:2], 10.0))
    image.SetOrigin(ct.TransformContinuousIndexToPhysicalPoint((0, 0, 0.5)))
    return image


def flipped(*axes):
    """Return the change of a scan stored with some axes the other way round."""
    return lambda ct: sitk.Flip(ct, [axis in axes for axis in "xyz"])


FILES = {
    "nii": Case("NIfTI, not compressed", file_of(name="scan.nii")),
    "nrrd": Case("NRRD", file_of(name="scan.nrrd")),
    "nhdr": Case("NRRD, header and voxels in two files", file_of(name="scan.nhdr")),
    "mha": Case("MetaImage", file_of(name="scan.mha")),
    "mhd": Case("MetaImage, header and voxels in two files", file_of(name="scan.mhd")),
    "capitals": Case("suffix in capitals, blanks and umlauts in the name", renamed),
    "big-endian": Case("NIfTI, most significant byte first", big_endian),
    "int32": Case("voxels of 32 bits", file_of(lambda ct: sitk.Cast(ct, sitk.sitkInt32))),
    "float64": Case("voxels in double precision", file_of(lambda ct: sitk.Cast(ct, sitk.sitkFloat64))),
    "one-volume-4d": Case("4D with a single volume", file_of(lambda ct: sitk.JoinSeries([ct]))),
    "link": Case("a link to the scan", linked),
    "flipped-x": Case("x axis flipped", file_of(flipped("x"))),
    "flipped-z": Case("slices from top to bottom", file_of(flipped("z"))),
    "flipped-all": Case("all axes flipped", file_of(flipped("x", "y", "z"), "scan.nrrd")),
    "permuted": Case("axes permuted: sagittal slices", file_of(lambda ct: sitk.PermuteAxes(ct, (1, 2, 0)))),
    "permuted-flipped": Case(
        "axes permuted and flipped: coronal slices",
        file_of(lambda ct: flipped("x", "z")(sitk.PermuteAxes(ct, (2, 0, 1))), "scan.mha"),
    ),
    "oblique": Case(
        "oblique axes: the same patient on a grid turned by 12 degrees",
        file_of(lambda ct: turned_grid(ct, turned(12))),
        RESAMPLED,
    ),
    "turned": Case(
        "the header turned by 10 degrees: the patient lies askew, and patches are never rotated",
        file_of(with_geometry(Direction=turned(10, axis=2)), "scan.nrrd"),
        NO_COMPARISON,
    ),
    "padding-2048": Case("-2048 outside the round field of view", file_of(padded(-2048)), NEAR),
    "padding-3024": Case("-3024 outside the round field of view", file_of(padded(-3024)), NEAR),
    "table": Case("upside-down table, in front of the chest", file_of(table_in_front), RESAMPLED),
    "metal": Case("metal of 32,000 HU with streaks", file_of(with_values(metal)), NEAR),
    "thin": Case("slices of 0.5 mm", file_of(thin), RESAMPLED),
    "thick": Case("slices of 10 mm", file_of(thick), RESAMPLED),
    "2000-slices": Case("2,000 slices", many_slices, RESAMPLED),
}
GATED = {
    "one-lung": Case(
        "left lung missing", file_of(with_values(one_lung)), NO_COMPARISON, warning="the left lung is missing"
    ),
    "one-lung-filled": Case(
        "left lung missing, the right one air around a mass",
        file_of(with_values(lambda hu: filled(one_lung(hu)))),
        warning="the left lung is missing",
        reason="no affine to the atlas is good enough after 4 starts: dice is",
        stage="register",
    ),
    "cut-side": Case(
        "lungs outside the field: the right one cut",
        file_of(lambda ct: ct[28:, :, :]),
        warning="the right lung is missing",
        reason="landmarks lie outside",
        stage="patches",
    ),
}
