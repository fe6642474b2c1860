import numpy as np
import pytest
import SimpleITK as sitk
from threadpoolctl import threadpool_limits
from volumes import array_of, image_like, thorax, turned

from drasclr_core.base.errors import InputError
from drasclr_core.scan.images import coarse_copy, read_image, resample_isotropic, to_canonical, write_image


@pytest.fixture(scope="module")
def ct():
    return thorax((4.0, 4.0, 4.0)).ct


# ---- canonical axes


@pytest.mark.parametrize(("axes", "signs"), [("LPS", (1, 1, 1)), ("LAS", (1, -1, 1)), ("RAI", (-1, -1, -1))])
@pytest.mark.parametrize("stored", ["LPS", "RAI", "PSL", "ILA"])
def test_canonical_axes_keep_every_voxel_at_its_place(ct, axes, signs, stored):
    found = to_canonical(sitk.DICOMOrient(ct, stored), axes)
    assert found.GetDirection() == tuple(float(v) for v in np.diag(signs).ravel())
    for index in [(0, 0, 0), (20, 30, 40), (74, 3, 60)]:
        point = ct.TransformIndexToPhysicalPoint(index)
        assert found[found.TransformPhysicalPointToIndex(point)] == ct[index]


@pytest.mark.parametrize("axes", ["PLS", "LP", "lps", ""])
def test_unknown_axes_are_refused(ct, axes):
    with pytest.raises(InputError, match="preprocess.axes"):
        to_canonical(ct, axes)


# ---- resampling


def smooth_volume(size, spacing_mm, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    """A band-limited function of the physical point, sampled on a grid, and the function."""

    def value(points_mm):
        x, y, z = np.moveaxis(points_mm, -1, 0)
        return 300 * np.sin(x / 9) + 200 * np.cos(y / 11 + 1) + 250 * np.sin(z / 13 + x / 40) - 100

    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing(spacing_mm)
    image.SetDirection(direction)
    image.SetOrigin((10.0, -20.0, 30.0))
    return image_like(image, np.rint(value(points_of(image))).astype(np.int16)), value


def points_of(image):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()), indexing="ij"), -1)
    matrix = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    return (index @ matrix.T + image.GetOrigin()).transpose(2, 1, 0, 3)


@pytest.mark.parametrize("axes", ["LPS", "LAS"])
def test_resampling_agrees_with_the_function_that_was_sampled(axes):
    image, value = smooth_volume((40, 36, 60), (1.4, 1.6, 2.5))
    found = resample_isotropic(image, 1.0, axes)
    inner = np.s_[8:-8, 8:-8, 8:-8]
    assert np.abs(array_of(found) - value(points_of(found)))[inner].max() < 3


def test_resampling_agrees_with_itk_on_the_whole_volume():
    rng = np.random.default_rng(1)
    image = image_like(
        smooth_volume((30, 26, 150), (1.3, 0.7, 0.9))[0], rng.integers(-900, 900, (150, 26, 30)).astype(np.int16)
    )
    found = resample_isotropic(image, 0.8)  # 168 slices: several slabs
    expected = sitk.Resample(image, found, sitk.Transform(), sitk.sitkBSpline, -1024, sitk.sitkFloat32)
    difference = array_of(found) - np.clip(array_of(expected), -1024, 3071)
    assert np.abs(difference).max() < 0.51  # rounding alone


def test_resampling_does_not_depend_on_the_number_of_threads():
    noise = np.random.default_rng(0).integers(-1000, 400, (60, 120, 128)).astype(np.int16)
    image = image_like(smooth_volume((128, 120, 60), (0.85, 0.85, 0.85))[0], noise)
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            found.append(array_of(coarse_copy(image, 1.0)))
    assert (found[0] == found[1]).all()  # unrounded, where another order of the sums shows at once


def test_oblique_scans_are_interpolated_once_slab_by_slab():
    image, value = smooth_volume((60, 50, 90), (1.5, 1.6, 2.0), turned(25))
    found = resample_isotropic(image, 1.5)  # 132 slices: several slabs
    assert found.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    noise = image_like(image, np.random.default_rng(1).integers(-900, 900, array_of(image).shape).astype(np.int16))
    expected = sitk.Resample(noise, found, sitk.Transform(), sitk.sitkBSpline, -1024, sitk.sitkFloat32)
    difference = array_of(resample_isotropic(noise, 1.5)) - np.clip(array_of(expected), -1024, 3071)
    assert np.abs(difference).max() < 0.51  # rounding alone
    index = found.TransformPhysicalPointToIndex(image.TransformContinuousIndexToPhysicalPoint((30, 25, 45)))
    assert found[index] == pytest.approx(value(np.array(found.TransformIndexToPhysicalPoint(index))), abs=3)
    assert found[0, 0, 0] == -1024  # a corner outside the scan
    for corner in [(0, 0, 0), (59, 49, 89), (59, 0, 89), (0, 49, 0)]:
        inside = found.TransformPhysicalPointToContinuousIndex(image.TransformIndexToPhysicalPoint(corner))
        assert all(-1e-6 <= i <= n for i, n in zip(inside, found.GetSize(), strict=True))


@pytest.mark.parametrize(
    ("size", "spacing_mm", "wanted_mm", "expected"),
    [((11, 21, 31), (0.7, 0.5, 2.5), 1.0, (8, 11, 76)), ((12, 12, 12), (0.1 * 3, 1, 3), 0.3, (12, 37, 111))],
)
def test_the_grid_starts_at_the_first_voxel_and_ends_inside_the_last(size, spacing_mm, wanted_mm, expected):
    image, _ = smooth_volume(size, spacing_mm)
    found = resample_isotropic(image, wanted_mm)
    assert found.GetSize() == expected
    assert found.GetSpacing() == (wanted_mm,) * 3
    assert found.GetOrigin() == pytest.approx(image.GetOrigin())


def test_overshoot_is_clipped():
    step = np.where(np.arange(20) < 10, -1024, 3071).astype(np.int16)
    image = sitk.GetImageFromArray(np.tile(step, (20, 20, 1)))
    found = array_of(resample_isotropic(image, 0.5))
    assert found.dtype == np.int16
    assert (found.min(), found.max()) == (-1024, 3071)


def test_coarse_copy_averages_fine_voxels_and_interpolates_coarse_ones():
    image, value = smooth_volume((80, 70, 30), (0.5, 0.6, 5.0))
    found = coarse_copy(image, 2.0)
    inner = np.s_[3:-3, 3:-3, 3:-3]
    assert np.abs(array_of(found) - value(points_of(found)))[inner].max() < 25
    noise = image_like(image, np.random.default_rng(0).normal(0, 100, array_of(image).shape))
    assert array_of(coarse_copy(noise, 2.0)).std() < 40


def test_no_text_of_a_header_is_read(ct, tmp_path):
    image = sitk.Image(ct)
    image.SetMetaData("ITK_FileNotes", "Jane Doe")
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    assert sitk.ReadImage(str(tmp_path / "ct.nii.gz")).GetMetaData("descrip") == "Jane Doe"
    assert read_image(tmp_path / "ct.nii.gz").GetMetaDataKeys() == ()


def test_an_image_written_is_read_back(ct, tmp_path):
    write_image(ct, tmp_path / "ct.nii.gz")
    found = read_image(tmp_path / "ct.nii.gz")
    assert np.array_equal(array_of(found), array_of(ct))
    assert found.IsSameImageGeometryAs(ct, 1e-5, 1e-6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_an_image_written_in_any_format_is_whole(ct, tmp_path, suffix):
    write_image(ct, tmp_path / f"ct{suffix}")
    assert np.array_equal(array_of(read_image(tmp_path / f"ct{suffix}")), array_of(ct))


@pytest.mark.parametrize("kept", [0, 1000, -100])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_an_image_on_a_full_disk_is_an_error(ct, tmp_path, monkeypatch, kept, suffix):
    write = sitk.WriteImage

    def cut_short(image, path, **options):  # as itk does, without a word
        write(image, path, **options)
        with open(path, "r+b") as file:
            file.truncate(kept if kept >= 0 else file.seek(0, 2) + kept)

    monkeypatch.setattr(sitk, "WriteImage", cut_short)
    with pytest.raises(OSError, match="could not be written whole: is the disk full"):
        write_image(ct, tmp_path / f"ct{suffix}")
