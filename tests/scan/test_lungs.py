import hashlib
import http.client
import io
import ssl
import urllib.error
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from volumes import AIR, LUNG, TISSUE, thorax

from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.scan import lung_weights
from drasclr_core.scan.lungs import LEFT, RIGHT, lung_metrics, segment_lungmask, segment_threshold


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def labels_of(ct):
    result = segment_threshold(ct)
    assert result.GetPixelID() == sitk.sitkUInt8
    assert result.IsSameImageGeometryAs(ct)
    return sitk.GetArrayFromImage(result)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"touching": True},
        {"spacing_mm": (1.5, 1.5, 8.0)},
        {"spacing_mm": (4.2, 4.2, 4.0)},
        {"table": "apart"},
        {"table": "touching"},
        {"lung_hu": -955, "noise_hu": 40.0},
        {"lung_hu": -600},
    ],
    ids=str,
)
def test_each_lung_is_found_on_its_side(options):
    volume = thorax(**options)
    found = labels_of(volume.ct)
    for side in (RIGHT, LEFT):
        assert dice(found == side, volume.lungs == side) > 0.95, side


def assert_without_trachea(found):
    assert not found[:, :, 46:55][52:].any()  # at 3 mm the trachea is around x = 50, from z = 50 upwards
    assert not found[-8:].any()  # above the lungs there is nothing else


def test_the_trachea_is_not_lung():
    assert_without_trachea(labels_of(thorax().ct))


def test_a_patient_on_the_belly_under_a_table():
    volume = thorax(table="apart")
    hu, truth = sitk.GetArrayFromImage(volume.ct)[:, ::-1], volume.lungs[:, ::-1]
    ct = sitk.GetImageFromArray(hu)
    ct.CopyInformation(volume.ct)
    found = labels_of(ct)
    for side in (RIGHT, LEFT):
        assert dice(found == side, truth == side) > 0.95
    assert_without_trachea(found)


def test_a_single_lung_keeps_its_side_and_the_other_has_none():
    volume = thorax(left_lung=False)
    found = labels_of(volume.ct)
    assert set(np.unique(found)) == {0, RIGHT}
    assert dice(found == RIGHT, volume.lungs == RIGHT) > 0.95


@pytest.mark.parametrize("order", ["RAS", "LAS", "PSR"])
def test_flipped_and_permuted_axes_give_the_same_lungs(order):
    volume = thorax()
    turned = segment_threshold(sitk.DICOMOrient(volume.ct, order))
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(turned, "LPS"))
    assert dice(back == RIGHT, volume.lungs == RIGHT) > 0.95
    assert dice(back == LEFT, volume.lungs == LEFT) > 0.95


@pytest.mark.parametrize(
    ("voxel_mm", "angles"),
    # Of the last two the chest wall, averaged twice, is thinner than the threshold sees.
    [(3.0, (0.15, 0.0, 0.2)), (5.0, (0.14, 0.0, 0.0)), (5.0, (0.21, 0.0, 0.0))],
)
def test_an_oblique_scan_gives_the_same_lungs(voxel_mm, angles):
    volume = thorax((voxel_mm,) * 3)
    turn = sitk.Euler3DTransform((0.0, 0.0, 150.0), *angles)
    tilted = sitk.Resample(volume.ct, volume.ct, turn, sitk.sitkLinear, AIR)
    tilted.SetDirection(turn.GetMatrix())
    tilted.SetOrigin(turn.TransformPoint(volume.ct.GetOrigin()))  # the body is where it was, its grid is not
    truth = sitk.GetImageFromArray(volume.lungs)
    truth.CopyInformation(volume.ct)
    truth = sitk.GetArrayFromImage(sitk.Resample(truth, tilted, sitk.Transform(), sitk.sitkNearestNeighbor))
    found = labels_of(tilted)
    for side in (RIGHT, LEFT):
        assert dice(found == side, truth == side) > 0.95


def test_gas_in_the_bowel_is_not_a_lung():
    volume = thorax(left_lung=False)
    hu = sitk.GetArrayFromImage(volume.ct)
    hu[10:35, 15:45, 58:83] = AIR  # 0.5 l on the side without a lung
    ct = sitk.GetImageFromArray(hu)
    ct.CopyInformation(volume.ct)
    assert set(np.unique(labels_of(ct))) == {0, RIGHT}


def test_vessels_and_small_nodules_belong_to_the_lung():
    volume = thorax()
    hu = sitk.GetArrayFromImage(volume.ct)
    hu[40:44, 30, 15:40] = TISSUE
    ct = sitk.GetImageFromArray(hu)
    ct.CopyInformation(volume.ct)
    assert (labels_of(ct)[40:44, 30, 20:40] == RIGHT).all()


def test_no_lung_is_refused():
    volume = thorax()
    hu = np.where(volume.lungs > 0, TISSUE, sitk.GetArrayFromImage(volume.ct))
    hu[60:, 20:40, 40:60] = TISSUE  # nor a trachea
    ct = sitk.GetImageFromArray(hu.astype(np.int16))
    ct.SetSpacing(volume.ct.GetSpacing())
    with pytest.raises(QualityError, match="no lung found: the largest air space inside the body holds"):
        segment_threshold(ct)


def mask_of(array, spacing_mm=(10.0, 10.0, 10.0)):
    mask = sitk.GetImageFromArray(array.astype(np.uint8))
    mask.SetSpacing(spacing_mm)
    return mask


def test_lung_metrics_by_hand():
    array = np.zeros((20, 20, 20))
    array[5:15, 5:15, 2:8] = RIGHT  # 600 voxels of 1 ml
    array[5:15, 5:15, 12:16] = LEFT
    assert lung_metrics(mask_of(array)) == pytest.approx(
        {"right_lung_l": 0.6, "left_lung_l": 0.4, "lung_l": 1.0, "touches_border_fraction": 0.0}
    )


def test_border_fraction_is_relative_to_the_largest_section():
    array = np.zeros((20, 20, 20))
    array[10:, 5:15, 2:12] = RIGHT
    array[-2:, 5:15, 2:9] = 0  # 30 of 100 voxels reach the top layers
    metrics = lung_metrics(mask_of(array))
    assert metrics["touches_border_fraction"] == pytest.approx(0.3)
    with pytest.raises(QualityError, match="30% .* on the top face of the volume, at most 20%"):
        lung_metrics(mask_of(array), most_border_fraction=0.2)


@pytest.mark.parametrize(("edge_mm", "layers"), [(10.0, 2), (2.0, 2), (1.0, 3), (0.7, 4)])
def test_lung_that_ends_a_coarse_voxel_before_the_face_touches_it(edge_mm, layers):
    """The mask is made on a grid of 2 mm: of the outermost layers, one voxel and 2 mm, any counts."""
    array = np.zeros((20, 20, 20))
    for gap, share in ((layers - 1, 1.0), (layers, 0.0)):
        array[:] = 0
        array[5 : 20 - gap, 5:15, 5:15] = RIGHT
        metrics = lung_metrics(mask_of(array, (edge_mm,) * 3), least_lung_l=0, most_border_fraction=1)
        assert metrics["touches_border_fraction"] == share


@pytest.mark.parametrize(
    ("axis", "index", "face"),
    [(0, 0, "bottom"), (0, -1, "top"), (1, 0, "front"), (1, -1, "back"), (2, 0, "right"), (2, -1, "left")],
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_face_that_cuts_the_lungs_is_named(axis, index, face, mirrored):
    array = np.zeros((20, 20, 20))
    array[5:15, 5:15, 5:15] = RIGHT
    array = np.roll(array, 5 if index else -5, axis)  # half of the volume's width, up to the face
    mask = mask_of(array)
    if mirrored:
        mask = sitk.Flip(mask, [True, True, True])
    with pytest.raises(QualityError, match=f"100% .* on the {face} face") as caught:
        lung_metrics(mask)
    assert caught.value.metrics["touches_border_fraction"] == 1


def test_too_little_lung_is_refused():
    array = np.zeros((10, 10, 10))
    array[2:8, 2:8, 2:8] = LEFT
    with pytest.raises(QualityError, match=r"0\.22 l, more than 0\.5 l") as caught:
        lung_metrics(mask_of(array))
    assert caught.value.metrics == pytest.approx({"right_lung_l": 0, "left_lung_l": 0.216, "lung_l": 0.216})


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        from lungmask.resunet import UNet
    torch.manual_seed(0)
    network = UNet(n_classes=3, padding=True, depth=5, up_mode="upsample", batch_norm=True)
    with torch.inference_mode():  # balance the classes, or one of them takes every voxel
        network.last.bias -= network.eval()(torch.rand(1, 1, 64, 64)).mean(dim=(0, 2, 3))
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


def test_lungmask_is_called_as_its_own_api_is(random_weights):
    ct = thorax((4.0, 4.0, 4.0)).ct[:, :, 30:32]
    found = segment_lungmask(ct, random_weights)
    network = lung_weights.import_lungmask()
    expected = network.LMInferer(modelpath=str(random_weights), tqdm_disable=True).apply(ct)
    assert np.unique(expected).size > 1
    assert np.array_equal(sitk.GetArrayFromImage(found), expected)
    assert found.IsSameImageGeometryAs(ct)


def test_a_gpu_is_left_alone_on_request(random_weights, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    network, devices = lung_weights.import_lungmask(), []
    monkeypatch.setattr("torch.nn.Module.to", lambda module, device: devices.append(device.type))
    monkeypatch.setattr(network.LMInferer, "apply", lambda inferer, ct: sitk.GetArrayFromImage(ct))
    ct = thorax((4.0, 4.0, 4.0)).ct[:, :, 30:32]
    for on_cpu in (True, False):
        segment_lungmask(ct, random_weights, on_cpu=on_cpu)
    assert devices == ["cpu", "cuda"]


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(InputError, match=r"drasclr fetch-weights.*segmentation\.weights"):
        lung_weights.check_weights(tmp_path / "none.pth")


def test_other_weights_are_refused(random_weights):
    with pytest.raises(InputError, match="expected d5d2fc3d"):
        lung_weights.check_weights(random_weights)
    digest = hashlib.sha256(random_weights.read_bytes()).hexdigest()
    assert lung_weights.check_weights(random_weights, digest) == random_weights


class Trap:
    def __reduce__(self):
        return open, (Trap.path, "w")


def test_a_pickle_is_not_executed(tmp_path):
    import torch

    Trap.path = str(tmp_path / "sprung")
    torch.save({"last.bias": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(InputError, match="not a file of plain network weights"):
        lung_weights.check_weights(tmp_path / "trap.pth", None)
    assert not (tmp_path / "sprung").exists()


def test_truncated_weights_are_refused(tmp_path, random_weights):
    (tmp_path / "half.pth").write_bytes(random_weights.read_bytes()[:100_000])
    with pytest.raises(InputError, match="not a file of plain network weights"):
        lung_weights.check_weights(tmp_path / "half.pth", None)


def test_weights_for_other_classes_are_refused(tmp_path):
    import torch

    torch.save({"last.bias": torch.zeros(6)}, tmp_path / "lobes.pth")
    with pytest.raises(InputError, match="6 classes"):
        lung_weights.check_weights(tmp_path / "lobes.pth", None)


def test_fetched_weights_appear_only_when_they_are_right(tmp_path, monkeypatch):
    asked = []

    def answer(url, timeout):
        asked.append(url)
        return io.BytesIO(b"published")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with pytest.raises(InputError, match="sha256"):
        lung_weights.fetch_weights(tmp_path / "r231.pth")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(lung_weights, "R231_SHA256", hashlib.sha256(b"published").hexdigest())
    assert lung_weights.fetch_weights(tmp_path / "r231.pth").read_bytes() == b"published"
    assert asked[0].endswith("unet_r231-d5d2fc3d.pth")
    lung_weights.fetch_weights(tmp_path / "r231.pth")
    assert len(asked) == 2  # already there: not asked again


def test_weights_are_not_fetched_for_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: pytest.fail("fetched"))
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "r231.pth"):
        with pytest.raises(InputError, match=f"{target} cannot be written"):
            lung_weights.fetch_weights(target)


class Dropped:
    """An answer whose connection drops while it is read."""

    def __init__(self, fault):
        self.fault = fault

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, size):
        raise self.fault


@pytest.mark.parametrize(
    "fault",
    [
        urllib.error.URLError("no route"),
        http.client.RemoteDisconnected("closed"),
        http.client.IncompleteRead(b""),
        ConnectionResetError("reset"),
        ssl.SSLError("bad record"),
        TimeoutError("timed out"),
    ],
    ids=lambda fault: type(fault).__name__,
)
@pytest.mark.parametrize("connected", [False, True])
def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch, fault, connected):
    def answer(url, timeout):
        if not connected:
            raise fault
        return Dropped(fault)

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with pytest.raises(InputError, match=r"cannot be fetched .*copy the file.*lungmask-r231\.pth.*--lung-weights"):
        lung_weights.fetch_weights(tmp_path / "r231.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_failed_download(tmp_path, monkeypatch):
    def full(self, mode):
        return open("/dev/full", mode, buffering=0)

    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"weights"))
    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(OSError, match="No space left"):
        lung_weights.fetch_weights(tmp_path / "r231.pth")


def test_lungs_and_air_differ_in_the_test_volume():
    """The oracle itself: its lungs lie where its HU say so."""
    volume = thorax(noise_hu=0.0)
    hu = sitk.GetArrayFromImage(volume.ct)
    assert set(np.unique(hu[volume.lungs > 0])) <= {LUNG, AIR}
