"""Results of ours that are no longer what was written are named, with what makes them again; nobody is excluded."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from scan_model import write_scan_model
from volumes import thorax

from drasclr_core.base.errors import DamagedError, InputError
from drasclr_core.base.files import Record, read_json, read_record, run_subject_stage, write_json, write_record
from drasclr_core.evaluate.probes import read_features
from drasclr_core.model.folder import load_model
from drasclr_core.scan.images import read_image, write_image


def spoiled(content, harm, place=0.5):
    content = bytearray(content)
    at = int(len(content) * place)
    if harm == "emptied":
        return b""
    if harm == "cut":
        return bytes(content[:at])
    content[at] ^= 1
    return bytes(content)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingest") / "p1"
    folder.mkdir()
    write_image(thorax((6.0, 6.0, 6.0)).ct, folder / "ct.nii.gz")
    write_record(folder, Record("p1", "ingest", "ok"))
    return folder / "ct.nii.gz"


@pytest.mark.parametrize(("harm", "place"), [("emptied", 0), *[("cut", share) for share in (0.1, 0.6, 0.999)]])
def test_a_volume_that_is_not_whole_is_noticed(volume, tmp_path, harm, place):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(spoiled(volume.read_bytes(), harm, place))
    with pytest.raises(
        DamagedError, match=r"ct\.nii\.gz is damaged .*: remove .*, and the same command makes it again"
    ):
        read_image(path)


def test_every_flipped_bit_of_a_volume_is_noticed_or_changes_nothing(volume, tmp_path):
    whole = sitk.GetArrayFromImage(read_image(volume))
    path, noticed = tmp_path / "ct.nii.gz", 0
    for place in np.random.default_rng(0).random(60):
        path.write_bytes(spoiled(volume.read_bytes(), "flipped", place))
        try:
            assert np.array_equal(sitk.GetArrayFromImage(read_image(path)), whole)
        except DamagedError:
            noticed += 1
    assert noticed >= 58  # a bit of gzip's own header, such as its date, decides nothing


def test_a_subjects_folder_is_to_be_removed_as_a_whole(volume, tmp_path):
    folder = tmp_path / "p1"
    folder.mkdir()
    (folder / "record.json").write_bytes((volume.parent / "record.json").read_bytes())
    (folder / "ct.nii.gz").write_bytes(gzip.compress(b"x")[:-3])
    with pytest.raises(DamagedError, match=f"remove {folder}, and the same command"):
        read_image(folder / "ct.nii.gz")


@pytest.mark.parametrize(
    "content", [b"", b'{"participant_id": "p1", "sta', b"[" * 100_000, b"\xff\xfe", b'{"other": 1}']
)
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(DamagedError, match=rf"record\.json is damaged .*: remove {tmp_path}, and the same command"):
        read_record(tmp_path)


def test_damage_of_a_stage_before_excludes_nobody(tmp_path):
    def work(_):
        (tmp_path / "cut.json").write_text("{")
        return read_json(tmp_path / "cut.json")

    with pytest.raises(DamagedError, match=r"cut\.json is damaged"):
        run_subject_stage(tmp_path / "out", "segment", "p1", [], work)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"text"])
def test_damaged_features_are_named(tmp_path, content):
    (tmp_path / "features.parquet").write_bytes(content)
    with pytest.raises(DamagedError, match=r"features\.parquet is damaged \(no Parquet file\)"):
        read_features(tmp_path)


# ---- models, which come from elsewhere


def edited(folder, name, change):
    """Change a JSON file of a model, and its sums, as somebody would who means to."""
    content = read_json(folder / name)
    change(content)
    write_json(folder / name, content)
    (folder / "SHA256SUMS").unlink()
    return folder


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "model.json",
            lambda d: d["preprocess"].update(spacing_mm=0.01),
            r"preprocess\.spacing_mm: 0\.01 is less",
        ),
        ("model.json", lambda d: d["preprocess"].update(spacing_mm="3"), r"preprocess\.spacing_mm: '3' is not of type"),
        ("model.json", lambda d: d["preprocess"].update(axes="XYZ"), r"preprocess\.axes: 'XYZ' is not one of"),
        ("model.json", lambda d: d["architecture"].update(num_experts=100_000), r"num_experts: 100000 is greater than"),
        ("model.json", lambda d: d["architecture"].update(feature_dim=-1), r"feature_dim: -1 is less than"),
        ("model.json", lambda d: d["architecture"].update(layers=3), r"'layers' was unexpected"),
        ("model.json", lambda d: d.pop("registration"), r"'registration' is a required property"),
        ("model.json", lambda d: d["segmentation"].update(method="magic"), r"segmentation\.method: 'magic'"),
        ("landmarks.json", lambda d: d.update(patch_size=4096), r"patch_size is 4096, but the encoder takes 32"),
        ("landmarks.json", lambda d: d["codes"][0].__setitem__(0, 1e300), r"a code beyond 10"),
        ("landmarks.json", lambda d: d.pop("codes"), r"landmarks\.json: .*codes"),
    ],
)
def test_a_model_that_says_what_no_model_says_is_refused(tmp_path, name, change, message):
    folder = edited(write_scan_model(tmp_path / "model"), name, change)
    with pytest.raises(InputError, match=message):
        load_model(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_whose_weights_are_no_numbers_is_refused(tmp_path, value):
    from safetensors.numpy import load_file, save_file

    folder = write_scan_model(tmp_path / "model")
    weights = load_file(folder / "encoder.safetensors")
    weights["convs.3.weight"].flat[7] = value
    save_file(weights, folder / "encoder.safetensors")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match=r"encoder\.safetensors holds NaN or infinity"):
        load_model(folder)
