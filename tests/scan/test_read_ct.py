import gzip
import os
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from volumes import array_of, image_like, saved, thorax, turned, write_dicom

from drasclr_core.base.errors import InputError
from drasclr_core.scan.checks import check_size
from drasclr_core.scan.images import read_ct


@pytest.fixture(scope="module")
def ct():
    return thorax((4.0, 4.0, 4.0)).ct


# ---- reading


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("kind", [sitk.sitkInt16, sitk.sitkFloat32, sitk.sitkInt32, sitk.sitkFloat64])
def test_formats_and_voxel_types_read_alike(ct, tmp_path, suffix, kind):
    path = saved(sitk.Cast(ct, kind), tmp_path / f"scan{suffix}", compress=suffix not in (".nii",))
    found = read_ct(path)
    assert found.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(array_of(found), array_of(ct))
    assert found.IsSameImageGeometryAs(ct, 1e-4, 1e-6)


def test_values_are_rounded_and_clamped(ct, tmp_path):
    values = array_of(ct).astype(np.float32)
    values[0, 0, :6] = [-2048, -3024, -1024.6, 5000, 40.4, -860.6]
    found = array_of(read_ct(saved(image_like(ct, values), tmp_path / "scan.nrrd")))
    assert found[0, 0, :6].tolist() == [-1024, -1024, -1024, 3071, 40, -861]


@pytest.mark.parametrize("padding", [-2048, -3024])
def test_padding_outside_the_field_of_view_is_air(ct, tmp_path, padding):
    values = array_of(ct)
    values[:, :15] = padding
    found = array_of(read_ct(saved(image_like(ct, values), tmp_path / "scan.nrrd")))
    assert (found[:, :15] == -1024).all()
    assert np.array_equal(found[:, 15:], values[:, 15:])


def test_rounding_in_the_direction_is_removed(ct, tmp_path):
    direction = np.array(turned(7)).reshape(3, 3) + np.random.default_rng(0).normal(0, 2e-4, (3, 3))
    for name in ("scan.nii.gz", "scan.nrrd"):
        image = image_like(ct, array_of(ct), Direction=turned(7))
        if name.endswith("nrrd"):
            image.SetDirection(direction.ravel())
        path = saved(image, tmp_path / name)
        if name.endswith("gz"):
            rewrite_sform(path, direction)
        found = np.array(read_ct(path).GetDirection()).reshape(3, 3)
        assert np.abs(found.T @ found - np.eye(3)).max() < 1e-12
        assert np.abs(found - direction).max() < 1e-3


def rewrite_sform(path, direction, spacing_mm=4.0):
    """Replace the sform by a matrix in LPS (NIfTI's own is RAS), and switch the qform off."""
    header = bytearray(gzip.decompress(path.read_bytes()))
    rows = np.diag([-1, -1, 1]) @ np.asarray(direction) * spacing_mm
    struct.pack_into("<hh", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<3f", header, 280 + 16 * row, *rows[row])
    path.write_bytes(gzip.compress(bytes(header)))


# ---- refusing


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.nii\.gz: no such file"):
        read_ct(tmp_path / "none.nii.gz")


@pytest.mark.parametrize("slice_alone", [False, True])
def test_a_name_that_is_not_utf_8_is_refused(ct, tmp_path, slice_alone):
    odd = os.fsdecode(b"M\xfcller")
    if slice_alone:
        path = tmp_path / "series"
        write_dicom(path, ct)[3].rename(path / odd)
    else:
        path = saved(ct, tmp_path / "scan.nii.gz").rename(tmp_path / f"{odd}.nii.gz")
    with pytest.raises(InputError, match=r"M\\udcfcller.*: the name is not UTF-8"):
        read_ct(path)


def test_a_loop_of_links_is_named(tmp_path):
    (tmp_path / "a.nrrd").symlink_to(tmp_path / "b.nrrd")
    (tmp_path / "b.nrrd").symlink_to(tmp_path / "a.nrrd")
    with pytest.raises(InputError, match="Too many levels of symbolic links"):
        read_ct(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scan.nii.gz", b"", "the file is empty"),
        ("scan.txt", b"text", r"not a known format: give \.nii\.gz"),
        ("scan.nii.gz", b"just some text", r"content is not \.nii\.gz"),
        ("scan.nrrd", b"\x1f\x8b0123456789", r"content is not \.nrrd"),
        ("scan.nii.gz", gzip.compress(b"no header", mtime=0), "content is not NIfTI-1"),
        ("scan.mha", b"ObjectType = Image\nNDims = 3\nElementSpacing = 1 1 1\n", "lacks ElementDataFile"),
    ],
)
def test_what_is_not_a_volume_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_ct(tmp_path / name)


@pytest.mark.parametrize("share", [0.3, 0.999])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_truncated_files_are_refused(ct, tmp_path, suffix, share):
    path = saved(ct, tmp_path / f"scan{suffix}", compress=suffix != ".nii")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="truncated|incomplete"):
        read_ct(path)


def test_a_damaged_gzip_is_refused(ct, tmp_path):
    path = saved(ct, tmp_path / "scan.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="gzip stream is truncated or damaged"):
        read_ct(path)


def test_a_header_of_absurd_size_is_refused_before_its_voxels_are_read(ct, tmp_path):
    path = saved(ct, tmp_path / "scan.nii.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3h", content, 42, 30000, 30000, 30000)
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match="claims 30000 x 30000 x 30000 voxels"):
        read_ct(path)


def test_a_volume_of_more_voxels_than_any_ct_has_is_refused():
    check_size("scan", (1000, 1000, 1200))
    with pytest.raises(InputError, match="1000 x 1000 x 1201 voxels, more than the 1,200,000,000"):
        check_size("scan", (1000, 1000, 1201))


def volume_faults():
    ct = thorax((4.0, 4.0, 4.0)).ct
    hu = array_of(ct)
    hole = hu.astype(np.float32)
    hole[5, 5, 5] = np.nan
    infinite = hu.astype(np.float32)
    infinite[5, 5, 5] = np.inf
    window = np.clip((hu + 1350) / 1500 * 255, 0, 255).astype(np.uint8)
    shear = np.eye(3)
    shear[1, 2] = 0.1
    return {
        "2D": (ct[:, :, 30], "2 dimensions"),
        "4D": (sitk.JoinSeries([ct, ct]), "4 dimensions"),
        "RGB": (sitk.Compose([sitk.Cast(ct, sitk.sitkUInt8)] * 3), "one real number a voxel"),
        "complex": (sitk.RealAndImaginaryToComplex(*[sitk.Cast(ct, sitk.sitkFloat32)] * 2), "one real number a voxel"),
        "NaN": (image_like(ct, hole), "slice 5 holds NaN"),
        "infinite": (image_like(ct, infinite), "slice 5 holds infinite"),
        "constant": (image_like(ct, np.full_like(hu, -1000)), "every voxel is -1000"),
        "offset": (image_like(ct, (np.maximum(hu, -1024) + 1024).astype(np.uint16)), "offset, mostly 1024"),
        "window": (image_like(ct, window), "8-bit picture"),
        "rescaled twice": (image_like(ct, (hu - 1024).astype(np.int16)), "exactly once"),
        "slope twice": (image_like(ct, np.where(hu < -950, -3000, 2 * hu).astype(np.int16)), "below air"),
        "no tissue": (image_like(ct, np.where(hu > -500, 900, hu).astype(np.int16)), "soft tissue"),
        "no air": (image_like(ct, np.where(hu < -500, -100, hu).astype(np.int16)), "air or lung"),
        "tiny voxels": (image_like(ct, hu, Spacing=(0.05, 4, 4)), "spacing is 0.05 x 4 x 4 mm"),
        "huge voxels": (image_like(ct, hu, Spacing=(4, 4, 40)), "spacing is 4 x 4 x 40 mm"),
        "metres": (image_like(ct, hu, Spacing=(0.004, 0.004, 0.004)), "metres"),
        "a slab": (ct[:, :, 20:32], "a chest CT measures 100 to 2500"),
        "few slices": (ct[:, :, :5], "fewer than 10"),
        "sheared": (image_like(ct, hu, Direction=shear.ravel()), "sheared by 5.7"),
    }


FAULTS = volume_faults()


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_own_message(tmp_path, fault):
    image, message = FAULTS[fault]
    path = saved(image, tmp_path / "scan.nrrd")
    with pytest.raises(InputError, match=message) as caught:
        read_ct(path)
    assert "scan.nrrd" in str(caught.value)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.mha", "scan.nrrd"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("value", "message"), [(np.nan, "slice 64 holds NaN"), (-np.inf, "slice 64 holds infinite")])
def test_what_is_no_number_is_refused_in_every_format(ct, tmp_path, name, kind, value, message):
    hu = array_of(ct).astype(kind)
    hu[-1, -1, -1] = value  # itk reads it as 0 from NIfTI
    path = saved(image_like(ct, hu), tmp_path / name, compress=name != "scan.nii")
    with pytest.raises(InputError, match=message):
        read_ct(path)


@pytest.mark.parametrize("spacing_mm", [0.0, float("nan"), float("inf"), -4.0])
@pytest.mark.parametrize("order", ["<", ">"])
def test_impossible_nifti_spacing_is_refused(ct, tmp_path, spacing_mm, order):
    path = saved(ct, tmp_path / "scan.nii.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    if order == ">":
        struct.pack_into(">i", content, 0, 348)
    struct.pack_into(f"{order}f", content, 80, spacing_mm)
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match=r"spacing is \("):
        read_ct(path)


@pytest.mark.parametrize(("suffix", "line"), [(".mha", b"ElementSpacing"), (".nrrd", b"space directions")])
def test_a_header_without_spacing_is_refused(ct, tmp_path, suffix, line):
    path = saved(ct, tmp_path / f"scan{suffix}", compress=False)
    path.write_bytes(b"".join(part for part in path.read_bytes().splitlines(True) if not part.startswith(line)))
    with pytest.raises(InputError, match="no voxel spacing"):
        read_ct(path)


@pytest.mark.parametrize("value", [b"0", b"-4", b"nan"])
def test_impossible_metaimage_spacing_is_refused(ct, tmp_path, value):
    path = saved(ct, tmp_path / "scan.mha", compress=False)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 4 ", b"ElementSpacing = " + value + b" "))
    with pytest.raises(InputError, match=r"voxel spacing is|ElementSpacing of the header is"):
        read_ct(path)


@pytest.mark.parametrize(
    ("suffix", "line"), [(".mha", b"TransformMatrix"), (".mhd", b"TransformMatrix"), (".nrrd", b"space:")]
)
def test_a_header_without_axes_is_refused(ct, tmp_path, suffix, line):
    path = saved(ct, tmp_path / f"scan{suffix}", compress=False)
    lines = [part for part in path.read_bytes().splitlines(True) if not part.startswith(line)]
    path.write_bytes(b"".join([lines[0], b"space dimension: 3\n" * (suffix == ".nrrd"), *lines[1:]]))
    with pytest.raises(InputError, match="the header lacks .* right and left of the patient are unknown"):
        read_ct(path)


# ---- the orientation of NIfTI


def oblique_affine(rng, mirrored):
    """Return a random affine in RAS, mm, its axes orthogonal."""
    turn = sitk.Euler3DTransform((0, 0, 0), *rng.uniform(-np.pi, np.pi, 3))
    axes = np.reshape(turn.GetMatrix(), (3, 3)) * (1, 1, -1 if mirrored else 1)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * (3.9876543, 4.0123456, 4.1), rng.normal(0, 100, 3)
    return affine


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 2), (2, 4), (0, 1)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_oblique_nifti_of_another_library_is_read_where_it_lies(ct, tmp_path, codes, mirrored):
    rng = np.random.default_rng([*codes, mirrored])
    for number in range(5):
        affine, path = oblique_affine(rng, mirrored), tmp_path / f"{number}.nii"
        image = nibabel.Nifti1Image(array_of(ct).T, affine)
        image.set_qform(affine, codes[0])
        image.set_sform(affine, codes[1])
        nibabel.save(image, path)
        found = read_ct(path)
        expected_mm = np.array([-1, -1, 1]) * (affine @ (10, 20, 30, 1))[:3]
        np.testing.assert_allclose(found.TransformIndexToPhysicalPoint((10, 20, 30)), expected_mm, atol=0.05)


@pytest.mark.parametrize("order", ["RAS", "LAS", "PSR", "ILA"])
def test_nibabel_writes_what_is_read_at_its_place(ct, tmp_path, order):
    turned_ct = sitk.DICOMOrient(ct, order)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(turned_ct.GetDirection(), (3, 3)) * turned_ct.GetSpacing()
    affine[:3, 3] = turned_ct.GetOrigin()
    nibabel.save(nibabel.Nifti1Image(array_of(turned_ct).T, np.diag([-1, -1, 1, 1]) @ affine), tmp_path / "scan.nii.gz")
    found = read_ct(tmp_path / "scan.nii.gz")
    assert found.IsSameImageGeometryAs(turned_ct, 1e-4, 1e-6)


@pytest.mark.parametrize(("degrees", "refused"), [(0.8, False), (2, True), (90, True), (180, True)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_orientations_must_agree(ct, tmp_path, degrees, refused, axis):
    affine = np.diag([-4.0, -4, 4, 1])
    turn = np.eye(4)
    turn[:3, :3] = np.reshape(turned(degrees, axis), (3, 3))
    image = nibabel.Nifti1Image(array_of(ct).T, affine)
    image.set_qform(turn @ affine, 1)
    image.set_sform(affine, 1)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    if not refused:
        read_ct(tmp_path / "scan.nii.gz")
        return
    with pytest.raises(InputError, match=r"qform and sform of the header differ by (2|90|180) degrees"):
        read_ct(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize(("factor", "refused"), [(1.0015, False), (1.005, True), (0.8, True)])
def test_two_sizes_of_voxels_must_agree(ct, tmp_path, factor, refused):
    affine = np.diag([-4.0, -4, 4, 1])
    image = nibabel.Nifti1Image(array_of(ct).T, affine)
    image.set_sform(affine * factor, 1)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    if not refused:
        read_ct(tmp_path / "scan.nii.gz")
        return
    with pytest.raises(InputError, match="by the header's sform, 4 x 4 x 4 mm by its pixdim"):
        read_ct(tmp_path / "scan.nii.gz")


def test_a_nifti_without_orientation_is_refused(ct, tmp_path):
    image = nibabel.Nifti1Image(array_of(ct).T, np.diag([-4.0, -4, 4, 1]))
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match="qform_code and sform_code are 0 in the header"):
        read_ct(tmp_path / "scan.nii.gz")


def test_nifti_2_is_refused_by_name(ct, tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(struct.pack("<i", 540) + b"n+2\0" + bytes(600)))
    with pytest.raises(InputError, match="NIfTI-2 cannot be read"):
        read_ct(tmp_path / "scan.nii.gz")


def test_suffixes_may_be_capitals(ct, tmp_path):
    path = saved(ct, tmp_path / "scan.nii.gz").rename(tmp_path / "SCAN.NII.GZ")
    assert np.array_equal(array_of(read_ct(path)), array_of(ct))


def test_a_sheared_nifti_is_refused(ct, tmp_path):
    path = saved(ct, tmp_path / "scan.nii.gz")
    shear = np.eye(3)
    shear[1, 2] = 0.02
    rewrite_sform(path, shear)
    with pytest.raises(InputError, match="sheared by 1.15 degrees"):
        read_ct(path)


# ---- lost slices


@pytest.mark.parametrize(
    ("slices", "hu", "message"),
    [
        (slice(30, 33), -1024, r"3 slices hold one value each \(slice 30 is -1024 HU throughout\)"),
        (slice(0, 16), 0, r"16 slices hold one value each \(slice 0 is 0 HU throughout\)"),
        (slice(60, None), 100, r"slice 60 is 100 HU throughout"),
        (slice(40, 41), 3071, r"1 slices hold one value each \(slice 40 is 3071 HU throughout\)"),
    ],
)
def test_slices_that_a_decoder_lost_are_named(ct, tmp_path, slices, hu, message):
    values = array_of(ct).copy()
    values[slices] = hu
    with pytest.raises(InputError, match=message):
        read_ct(saved(image_like(ct, values), tmp_path / "scan.nii.gz"))


def test_air_above_and_below_the_scan_is_accepted(ct, tmp_path):
    values = array_of(ct).copy()
    values[:3], values[-5:] = -1000, -2048
    found = array_of(read_ct(saved(image_like(ct, values), tmp_path / "scan.nii.gz")))
    assert np.array_equal(found, np.maximum(values, -1024))


@pytest.mark.parametrize("places", [[31], range(31, 36), range(1, 65, 2)])
def test_a_slice_that_repeats_the_one_before_is_named(ct, tmp_path, places):
    values = array_of(ct).copy()
    for place in places:
        values[place] = values[place - 1]
    with pytest.raises(InputError, match=rf"slices are .*\(slice {places[0]} is slice {places[0] - 1}\)"):
        read_ct(saved(image_like(ct, values), tmp_path / "scan.nii.gz"))
