import errno
import os
import shutil
from pathlib import Path

import pytest

from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.base.files import atomic_directory, atomic_path, read_json, read_record, run_subject_stage, write_json
from drasclr_core.base.paths import cache_folder, readable_size


def write_and_fail(path, broken):
    """Write into an atomic path or directory, then raise."""
    with broken(path) as partial:
        (partial / "file" if partial.is_dir() else partial).write_text("half")
        raise OSError("disk full")


def test_a_path_appears_whole_and_keeps_its_suffix(tmp_path):
    target = tmp_path / "new" / "mask.nii.gz"
    with atomic_path(target) as partial:
        assert partial.parent == target.parent  # else the last step would copy
        assert partial.name.endswith(".nii.gz")  # image writers go by it
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["mask.nii.gz"]


def test_a_path_is_untouched_by_a_failure(tmp_path):
    target = tmp_path / "table.tsv"
    with pytest.raises(OSError, match="disk full"):
        write_and_fail(target, atomic_path)
    assert os.listdir(tmp_path) == []
    target.write_text("older")
    with pytest.raises(OSError, match="disk full"):
        write_and_fail(target, atomic_path)
    assert target.read_text() == "older"
    assert os.listdir(tmp_path) == ["table.tsv"]


@pytest.mark.parametrize("before", [None, [], ["old", "nested/older"]], ids=["absent", "empty", "full"])
def test_a_directory_takes_the_place_of_what_was_there(tmp_path, before):
    target = tmp_path / "subject"
    for name in before or []:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("old")
    if before == []:
        target.mkdir()  # as Snakemake does
    with atomic_directory(target) as partial:
        (partial / "new").write_text("new")
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["subject"]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o777 & ~umask  # not the private mode of temporary folders


@pytest.mark.parametrize("before", [None, "old"])
def test_a_directory_is_untouched_by_a_failure(tmp_path, before):
    target = tmp_path / "subject"
    if before:
        target.mkdir()
        (target / before).touch()
    with pytest.raises(OSError, match="disk full"):
        write_and_fail(target, atomic_directory)
    assert os.listdir(tmp_path) == (["subject"] if before else [])
    assert not before or os.listdir(target) == [before]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    others = [".17.other.tsv", ".hidden.table.tsv", "17.table.tsv", ".17.table.tsv.md"]
    for name in [".17.table.tsv", ".4194304.table.tsv", *others]:
        (tmp_path / name).write_text("half")
    with atomic_path(tmp_path / "table.tsv") as partial:
        partial.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "table.tsv"])

    for name in (".[a].abcdefgh", ".[a].abcdefgh.x", ".a.abcdefgh"):
        (tmp_path / "folders" / name).mkdir(parents=True)
    with atomic_directory(tmp_path / "folders" / "[a]"):
        pass
    assert sorted(os.listdir(tmp_path / "folders")) == [".[a].abcdefgh.x", ".a.abcdefgh", "[a]"]


def test_content_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    """A power cut cannot be made here: that the system is asked for it, in time, can be seen."""
    synced, fsync, replace = set(), os.fsync, os.replace
    unsynced = []

    def watched(source, target):
        files = [path for path in (source, *Path(source).rglob("*")) if path.is_file()]
        unsynced.extend(path.name for path in files if path.stat().st_ino not in synced)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", lambda number: (synced.add(os.fstat(number).st_ino), fsync(number)))
    monkeypatch.setattr(os, "replace", watched)
    with atomic_path(tmp_path / "a.txt") as partial:
        partial.write_text("a")
    with atomic_directory(tmp_path / "folder") as partial:
        (partial / "inner").mkdir()
        for name in ("b.txt", "inner/c.txt"):
            (partial / name).write_text(name)
    assert unsynced == []
    assert {path.stat().st_ino for path in tmp_path.rglob("*.txt")} == synced
    assert len(synced) == 3


def test_an_older_result_is_whole_until_it_goes(tmp_path, monkeypatch):
    """It goes by one renaming, not file by file: whoever is killed meanwhile leaves none or all of it."""
    for name in ("a", "b"):
        (tmp_path / "model" / name).mkdir(parents=True)
    seen = []
    remove = shutil.rmtree
    monkeypatch.setattr(
        shutil, "rmtree", lambda path, **options: (seen.append(Path(path).name), remove(path, **options))
    )
    with atomic_directory(tmp_path / "model"):
        pass
    assert seen
    assert "model" not in seen


def test_json_goes_there_and_back_and_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"volume_l": 4.6, "sizes": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"volume_l": 4.6, "sizes": [1, 2]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"volume_l": float("nan")})
    assert os.listdir(tmp_path) == ["a.json"]


def good(folder):
    (folder / "ct.nii.gz").write_text("voxels")
    return {"lung_l": 5.0}


def failing(error):
    def work(folder):
        good(folder)
        (folder / "patches.zarr").mkdir()
        raise error

    return work


def never(folder: Path):
    raise AssertionError("a stage after an exclusion does no work")


def test_a_stage_that_succeeds_leaves_its_files_and_record(tmp_path):
    record = run_subject_stage(tmp_path / "s1", "ingest", "s1", [], good)
    assert record == read_record(tmp_path / "s1")
    assert (record.participant_id, record.stage, record.status, record.reason) == ("s1", "ingest", "ok", None)
    assert record.metrics == {"lung_l": 5.0}
    assert not record.excluded
    assert record.versions["drasclr"]
    assert sorted(os.listdir(tmp_path / "s1")) == ["ct.nii.gz", "record.json"]


@pytest.mark.parametrize("error", [InputError, QualityError])
def test_a_fault_of_the_scan_excludes_the_subject(tmp_path, error):
    record = run_subject_stage(tmp_path / "s1", "segment", "s1", [], failing(error("no lungs")))
    assert (record.status, record.excluded_by, record.reason) == ("excluded", "segment", "no lungs")
    assert record.metrics == {}
    assert os.listdir(tmp_path / "s1") == ["record.json"]


@pytest.mark.parametrize("error", [ValueError("a bug"), MemoryError(), KeyboardInterrupt()])
def test_any_other_error_is_raised_and_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)):
        run_subject_stage(tmp_path / "s1", "segment", "s1", [], failing(error))
    assert os.listdir(tmp_path) == []


def test_a_subject_that_crashes_can_be_left_out_and_the_message_says_how(tmp_path):
    with pytest.raises(ValueError, match="a bug") as caught:
        run_subject_stage(tmp_path / "s1", "segment", "s1", [], failing(ValueError("a bug")))
    (note,) = caught.value.__notes__
    assert note.startswith("s1 failed in segment")
    assert "exclude_reason" in note


def test_an_exclusion_is_passed_on_with_its_stage(tmp_path):
    run_subject_stage(tmp_path / "ingest", "ingest", "s1", [], good)
    run_subject_stage(tmp_path / "segment", "segment", "s1", [tmp_path / "ingest"], failing(QualityError("no lungs")))
    upstream = [tmp_path / "ingest", tmp_path / "segment"]
    run_subject_stage(tmp_path / "register", "register", "s1", upstream, never)
    last = run_subject_stage(tmp_path / "patches", "patches", "s1", [tmp_path / "ingest", tmp_path / "register"], never)
    assert (last.stage, last.status, last.excluded_by, last.reason) == ("patches", "excluded", "segment", "no lungs")


def test_the_table_excludes_without_any_work(tmp_path):
    record = run_subject_stage(tmp_path / "s1", "ingest", "s1", [], never, exclude_reason="lobectomy")
    assert (record.status, record.excluded_by, record.reason) == ("excluded", "table", "lobectomy")


def test_what_a_killed_writer_left_is_cleared_away(tmp_path):
    (tmp_path / ".s1.k3x_9abc").mkdir()
    (tmp_path / ".s1.k3x_9abc" / "half").touch()
    (tmp_path / ".s10.k3x_9abc").mkdir()  # another subject's
    with atomic_directory(tmp_path / "s1") as partial:
        (partial / "whole").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".s10.k3x_9abc", "s1"]


def test_the_size_of_a_file_or_a_folder_is_known_of_what_may_be_read(tmp_path, monkeypatch):
    (tmp_path / "scan.nii").write_bytes(b"12345")
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "1.dcm").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    paths = [tmp_path / name for name in ("scan.nii", "series", "loop", "absent", "x" * 256, "scan.nii/below")]
    assert [readable_size(path) for path in paths] == [5, 1, None, None, None, None]
    # As another user's; whoever runs the tests may be allowed everything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).is_dir() and not mode & os.X_OK)
    assert [readable_size(path) for path in paths[:2]] == [None, None]


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), OSError(errno.ESTALE, "lost")])
def test_a_lost_disk_says_nothing_of_a_scan(tmp_path, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(os, "listdir", fail)
    if isinstance(error, PermissionError):
        assert readable_size(tmp_path) is None
    else:
        with pytest.raises(OSError, match="lost"):
            readable_size(tmp_path)


def test_a_folder_that_another_writer_removed_is_not_published(tmp_path):
    """It was made again, as zarr does for every file that it writes, and lacks what was written before."""
    target = tmp_path / "bank"

    def write():
        with atomic_directory(target) as partial:
            (partial / "early").touch()
            with atomic_directory(target) as other:
                (other / "whole").touch()
            partial.mkdir()
            (partial / "late").touch()

    with pytest.raises(RuntimeError, match=r"was removed while it was written: does another job write .*bank too"):
        write()
    assert os.listdir(target) == ["whole"]
    assert os.listdir(tmp_path) == ["bank"]


def test_what_was_measured_before_a_refusal_is_in_the_record(tmp_path):
    work = failing(QualityError("dice is 0.7, allowed 0.8 to inf", {"dice": 0.7}))
    assert run_subject_stage(tmp_path / "s1", "register", "s1", [], work).metrics == {"dice": 0.7}
    assert read_record(tmp_path / "s1").metrics == {"dice": 0.7}


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match=r"has no home folder: set HOME or XDG_CACHE_HOME, or give the file itself"):
        cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/drasclr")


@pytest.mark.parametrize("line", ["ElementDataFile = v.raw", "data file: v.raw", "datafile: v.raw\r"])
def test_the_size_of_a_header_alone_is_that_of_its_voxels_too(tmp_path, line):
    header = tmp_path / ("v.mhd" if "Element" in line else "v.nhdr")
    header.write_text(f"something: else\n{line}\n", newline="")
    alone = header.stat().st_size
    assert readable_size(header) == alone
    (tmp_path / "v.raw").write_bytes(b"12345")
    assert readable_size(header) == alone + 5
    header.write_text(line.replace("v.raw", "../v.raw"))  # what is refused when it is read
    assert readable_size(header) >= header.stat().st_size
