"""Images in memory are read as the same images in files are: geometry, Hounsfield units, refusals."""

import struct
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from real_cts import FOLDER
from scan_model import no_lungs, write_scan_model
from volumes import thorax

from drasclr_core import load_model
from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.scan.images import read_ct
from drasclr_core.scan.in_memory import scan_image

ORIGIN_MM = (-151.2345678, 110.7654321, 20.1234567)


def turn(x_deg, y_deg, z_deg):
    transform = sitk.Euler3DTransform((0.0, 0.0, 0.0), *np.radians([x_deg, y_deg, z_deg]).tolist())
    return np.reshape(transform.GetMatrix(), (3, 3))


AXES = {
    "straight": np.eye(3),
    "as most NIfTI files": np.diag([-1.0, -1, 1]),
    "flipped": np.diag([1.0, -1, -1]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "oblique": turn(7, -5, 11),
    "oblique, flipped": turn(7, -5, 11) @ np.diag([-1.0, 1, 1]),
}


@pytest.fixture(scope="module")
def voxels():
    """HU along (i, j, k), of another size along each axis."""
    return sitk.GetArrayFromImage(thorax((6.0, 5.0, 5.5)).ct).transpose(2, 1, 0)


def affine_of(axes, spacing_mm=(6.0001, 5.0002, 5.5003)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * spacing_mm, ORIGIN_MM
    return affine


def as_meta(voxels, affine, folder):
    """Write an array as MetaImage, whose header holds an affine in double precision."""
    raw, path = scan_image(voxels, affine), folder / "scan.mha"
    image = sitk.GetImageFromArray(np.ascontiguousarray(raw.values))
    image.SetSpacing(raw.spacing_mm)
    image.SetOrigin(raw.origin_mm)
    image.SetDirection(raw.direction)
    sitk.WriteImage(image, str(path))
    return path


def assert_same(found, expected):
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(expected))
    for name in ("Spacing", "Origin", "Direction"):
        assert getattr(found, f"Get{name}")() == getattr(expected, f"Get{name}")(), name


@pytest.mark.parametrize("axes", AXES)
def test_an_image_of_nibabel_is_its_file_to_the_last_bit(voxels, tmp_path, axes):
    image, path = nibabel.Nifti1Image(voxels, affine_of(AXES[axes])), tmp_path / "scan.nii.gz"
    nibabel.save(image, path)
    expected = read_ct(path)
    assert_same(read_ct(scan_image(image)), expected)
    assert_same(read_ct(scan_image(nibabel.load(path))), expected)
    assert_same(read_ct(scan_image(sitk.ReadImage(str(path)))), expected)


@pytest.mark.parametrize("axes", AXES)
def test_an_array_lies_where_nibabel_puts_it(voxels, tmp_path, axes):
    affine = affine_of(AXES[axes])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "scan.nii.gz")
    found, expected = read_ct(scan_image(voxels, affine)), read_ct(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(expected))
    for corner in ((0, 0, 0), (49, 43, 46)):
        places = [image.TransformIndexToPhysicalPoint(corner) for image in (found, expected)]
        np.testing.assert_allclose(*places, rtol=0, atol=1e-4)  # a NIfTI header is in single precision
    assert_same(found, read_ct(as_meta(voxels, affine, tmp_path)))  # whose is not


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (0.37, -1000.0), (0.1, -1000.0)])
def test_slope_and_intercept_give_the_same_hu(voxels, tmp_path, slope, intercept):
    stored = np.round((voxels - intercept) / slope).clip(0, 50_000).astype(np.uint16)
    stored += 5  # of 0.1: half a HU, which is rounded as in single precision or else
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(stored, affine_of(np.eye(3))), path)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<2f", slope, intercept)
    path.write_bytes(content)
    assert_same(read_ct(scan_image(nibabel.load(path))), read_ct(path))


def test_other_formats_of_nibabel_and_kinds_of_numbers(voxels):
    affine = affine_of(AXES["flipped"], (6.0, 5.0, 5.5))
    expected = read_ct(scan_image(voxels, affine))
    for image in (nibabel.Nifti2Image(voxels, affine), nibabel.MGHImage(voxels.astype(np.float32), affine)):
        np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (read_ct(scan_image(image)), expected)))
    for kind in (np.int64, np.float64, np.float16):  # float16 holds whole numbers up to 2048
        assert_same(read_ct(scan_image(voxels.astype(kind), affine)), expected)


def test_a_tensor_is_an_array(voxels):
    import torch

    affine = affine_of(np.eye(3))
    tensors = (torch.from_numpy(voxels.copy()), torch.from_numpy(affine))
    assert_same(read_ct(scan_image(*tensors)), read_ct(scan_image(voxels, affine)))


@pytest.fixture
def broken(voxels):
    """Return images that are refused, and what the message says."""
    affine, small = affine_of(np.eye(3)), np.eye(4)
    sheared = affine_of(np.eye(3) + np.eye(3, k=1) * 0.2)
    nan = voxels.astype(np.float32)
    nan[3, 4, 5] = np.nan
    lost = nibabel.Nifti1Image(voxels, affine)
    lost.affine[:] = np.nan
    return [
        ((voxels, None), "an array does not say where its voxels lie: give its affine"),
        ((voxels, np.eye(3)), r"the affine, of shape \(3, 3\), is no \(4, 4\) matrix"),
        ((voxels, affine * np.nan), "is no .* matrix of finite numbers"),
        ((voxels, sheared), r"the axes are sheared by .* degrees"),
        ((voxels, small), "the volume measures 50 x 44 x 47 mm, a chest CT measures 100"),
        ((voxels, np.diag([0.0, 1, 1, 1])), "the voxel spacing is 0 x 1 x 1 mm"),
        ((nan, affine), "slice 5 holds NaN"),
        ((np.clip(voxels, -160, 240) / 400, affine), "an 8-bit picture of one window"),
        ((voxels + 1024, affine), "apply the rescale intercept"),
        ((voxels[None], affine), "the image has 4 dimensions, a CT volume has 3"),
        ((voxels[:5], affine), "the volume is 5 x 44 x 47 voxels, fewer than 10"),
        ((voxels * 1j, affine), "a voxel is complex128, a CT has one real number"),
        ((nibabel.Nifti1Image(voxels[..., None], affine), None), "the image has 4 dimensions"),
        ((nibabel.Nifti1Image(nan, affine), None), "slice 5 holds NaN"),
        ((lost, None), "NaN or infinity|cannot give its voxels and axes"),
        ((sitk.Image(40, 40, sitk.sitkInt16), None), "the image has 2 dimensions"),
        ((sitk.Image([40] * 3, sitk.sitkVectorFloat32, 3), None), "with 3 components, a CT has one real number"),
        ((sitk.Image([40] * 3, sitk.sitkInt16), affine), "an affine is given beside what has its own axes"),
        (({"image": voxels}, None), "dict is no scan: give a path, a SimpleITK image"),
    ]


def test_what_no_file_could_be_is_refused_by_name(broken):
    for (image, affine), message in broken:
        with pytest.raises(InputError, match=f"^mine: .*({message})"):
            read_ct(scan_image(image, affine, name="mine"))


def test_a_header_without_orientation_is_refused_in_memory_too(voxels, tmp_path):
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, affine_of(np.eye(3))), path)
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    path.write_bytes(content)
    for given in (path, nibabel.load(path)):
        with pytest.raises(InputError, match="right and left of the patient are unknown"):
            read_ct(scan_image(given))


def test_a_file_that_is_gone_is_told(voxels, tmp_path):
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, affine_of(np.eye(3))), path)
    image = nibabel.load(path)
    path.unlink()
    with pytest.raises(InputError, match=r"^the image: nibabel cannot give its voxels and axes \(FileNotFoundError\)"):
        scan_image(image)


def test_nibabel_is_needed_by_those_alone_who_use_it():
    code = (
        "import sys; from drasclr_core.scan.in_memory import scan_image as f; f('a'); print('nibabel' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_scan_model(tmp_path_factory.mktemp("model") / "model"))


def test_features_are_those_of_the_file_to_the_last_bit(model, voxels, tmp_path):
    affine, path = affine_of(AXES["oblique, flipped"]), tmp_path / "scan.nii.gz"
    image = nibabel.Nifti1Image(voxels, affine)
    nibabel.save(image, path)
    pairs = [
        (model.embed(image), model.embed(path)),
        (model.embed(sitk.ReadImage(str(path))), model.embed(str(path))),
        (model.embed(voxels, affine), model.embed(as_meta(voxels, affine, tmp_path))),
    ]
    for found, expected in pairs:
        assert found.landmarks.tobytes() == expected.landmarks.tobytes()
        assert found.mean.tobytes() == expected.mean.tobytes()
        assert found.metrics == expected.metrics
    assert pairs[0][0].landmarks.std() > 0


def test_an_iterable_gives_one_result_per_scan_in_its_order(model, voxels, tmp_path, caplog):
    affine = affine_of(np.eye(3))
    asked = []

    def scans():
        for scan in (
            (voxels, affine),
            no_lungs(tmp_path / "bad.nii.gz"),
            tmp_path / "missing.nii.gz",
            (voxels * np.nan, affine),
            nibabel.Nifti1Image(voxels, affine),
        ):
            asked.append(scan)
            yield scan

    results = model.embed(scans())
    assert asked == []
    first = next(results)
    assert len(asked) == 1
    _, *refused, last = [first, *results]
    assert last.valid.all()
    assert [type(each) for each in refused] == [QualityError, InputError, InputError]
    assert str(refused[0]).startswith(f"{tmp_path}/bad.nii.gz: no lung found")
    assert str(refused[1]).startswith(f"{tmp_path}/missing.nii.gz: no such file")
    assert str(refused[2]).startswith("image 4 of the iterable: slice 0 holds NaN")
    assert [record.getMessage() for record in caplog.records if "refused" in record.getMessage()] == [
        f"refused: {each}" for each in refused
    ]


def test_paths_in_a_column_are_several_scans(model, tmp_path):
    import pandas as pd

    (result,) = model.embed(pd.Series([str(tmp_path / "missing.nii.gz")]))
    assert isinstance(result, InputError)


@pytest.mark.real_ct
@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real CTs in {FOLDER}: set DRASCLR_TEST_CT")
def test_a_real_scan_is_the_same_in_memory():
    path = FOLDER / "LIDC-IDRI-0001_ct.nii.gz"
    image, expected = nibabel.load(path), read_ct(path)
    for given in ((image,), (sitk.ReadImage(str(path)),), (np.asarray(image.dataobj), image.affine)):
        assert_same(read_ct(scan_image(*given)), expected)


class Unread:
    """An array of another library that computes what it holds when it is asked for it."""

    ndim, shape = 3, (5000, 5000, 5000)

    def __array__(self, *_, **__):
        raise AssertionError("its voxels were asked for")


def test_an_array_is_refused_before_its_voxels_are_computed():
    with pytest.raises(InputError, match="^mine: .*5000"):
        scan_image(Unread(), np.eye(4), "mine")


def test_arrays_that_numpy_cannot_hold_or_would_change_are_refused(voxels):
    import torch

    affine = affine_of(np.eye(3))
    tensor = torch.from_numpy(voxels.astype(np.float32))
    for given, place, message in [
        (tensor.clone().requires_grad_(), affine, r"cannot be read as an array \(RuntimeError\)"),
        (tensor.to(torch.bfloat16), affine, r"cannot be read as an array \(TypeError\)"),
        (np.ma.masked_less(voxels, -500), affine, "masked array"),
        (voxels, affine * 1j, "complex"),
        (voxels, "RAS", "affine cannot be read"),
        (voxels, {}, "affine cannot be read"),
    ]:
        with pytest.raises(InputError, match=f"^mine: .*{message}"):
            scan_image(given, place, "mine")


def test_an_itk_image_without_an_origin_is_refused(voxels):
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    image.SetOrigin((np.nan, 0, 0))
    with pytest.raises(InputError, match="^mine: its origin"):
        scan_image(image, name="mine")
