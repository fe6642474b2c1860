import pytest
import SimpleITK as sitk

from drasclr_core.base.errors import InputError, is_machine_fault
from drasclr_core.scan import files as scan_files
from drasclr_core.scan.files import read_file


@pytest.mark.parametrize(
    "message",
    [
        "Failed to allocate memory for image.",
        "std::bad_alloc: bad allocation",
        "CUDA out of memory. Tried to allocate 2 GiB",
        "[Errno 28] No space left on device",
    ],
)
def test_memory_and_disk_are_the_machines(message):
    assert is_machine_fault(RuntimeError(message))


def test_a_damaged_file_is_not():
    assert not is_machine_fault(RuntimeError("ITK ERROR: NiftiImageIO: file is truncated"))


@pytest.mark.parametrize(("message", "expected"), [("Failed to allocate memory", RuntimeError), ("bad", InputError)])
def test_only_the_files_own_faults_exclude_its_subject(tmp_path, monkeypatch, message, expected):
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkInt16), str(tmp_path / "ct.nii.gz"))

    def fail(path, reader, stated):
        raise RuntimeError(message)

    monkeypatch.setattr(scan_files, "_check_header", fail)
    with pytest.raises(expected):
        read_file(tmp_path / "ct.nii.gz")
