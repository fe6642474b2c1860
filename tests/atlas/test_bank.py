"""The bank: equal to stacking the subjects, whatever the blocks it was built in."""

import numpy as np
import pytest
import SimpleITK as sitk
import zarr

from drasclr_core.atlas.bank import Bank, block_length, build_bank, open_bank
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import write_patches
from drasclr_core.atlas.shards import INNER_CHUNK
from drasclr_core.base.errors import DamagedError, InputError

SIZE = 4
IDS = ["s03", "s01", "s20"]  # not in alphabetical order, and to stay so


@pytest.fixture(scope="module")
def grid():
    return LandmarkGrid.build(sitk.Image((12, 12, 12), sitk.sitkUInt8) + 1, patch_size=SIZE, step=4, neighbours=2)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, grid):
    """Return the cohort's folder and its subjects' (hu, valid), by id."""
    rng, root, truth = np.random.default_rng(11), tmp_path_factory.mktemp("cohort"), {}
    for name in IDS:
        hu = rng.integers(-1024, 2000, (len(grid), SIZE, SIZE, SIZE), dtype=np.int16)
        valid = rng.random(len(grid)) < 0.7
        write_patches(root / name / "patches.zarr", hu, np.zeros((len(grid), 3), np.int64), valid)
        truth[name] = hu, valid
    return root, truth


def build(cohort, grid, path, ids=IDS, memory_gb=1.0, persons=None):
    root, _ = cohort
    build_bank([root / name for name in ids], ids, path, grid=grid, persons=persons, memory_gb=memory_gb)
    return path


def test_bank_is_the_stack_of_its_subjects(tmp_path, cohort, grid):
    bank = open_bank(build(cohort, grid, tmp_path / "bank.zarr"))
    _, truth = cohort
    assert isinstance(bank, Bank)
    assert bank.participant_ids == IDS
    assert bank.hu.shape == (len(grid), 3, SIZE, SIZE, SIZE)
    np.testing.assert_array_equal(bank.hu[:], np.stack([truth[name][0] for name in IDS], axis=1))
    np.testing.assert_array_equal(bank.valid, np.stack([truth[name][1] for name in IDS], axis=1))
    row = bank.row(5)
    assert (row.dtype, row.flags.c_contiguous) == (np.int16, True)
    np.testing.assert_array_equal(row, [truth[name][0][5] for name in IDS])
    np.testing.assert_array_equal(bank.grid.points_mm, grid.points_mm)
    np.testing.assert_array_equal(bank.grid.neighbours, grid.neighbours)


def test_order_of_the_subjects_is_the_order_given(tmp_path, cohort, grid):
    forth = open_bank(build(cohort, grid, tmp_path / "a.zarr"))
    back = open_bank(build(cohort, grid, tmp_path / "b.zarr", IDS[::-1]))
    assert back.participant_ids == IDS[::-1]
    np.testing.assert_array_equal(back.hu[:], forth.hu[:][:, ::-1])
    np.testing.assert_array_equal(back.valid, forth.valid[:, ::-1])


@pytest.mark.parametrize(
    ("persons", "expected"), [(None, [0, 1, 2]), ({"s03": "b", "s01": "a", "s20": "b"}, [0, 1, 0])]
)
def test_bank_knows_whose_scans_it_holds(tmp_path, cohort, grid, persons, expected):
    bank = open_bank(build(cohort, grid, tmp_path / "bank.zarr", persons=persons))
    assert (bank.persons.dtype, bank.persons.tolist()) == (np.int64, expected)


def test_in_a_bank_of_an_earlier_version_every_subject_is_a_person(tmp_path, cohort, grid):
    path = build(cohort, grid, tmp_path / "bank.zarr", persons=dict.fromkeys(IDS, "one"))
    del zarr.open_group(path).attrs["persons"]
    assert open_bank(path).persons.tolist() == [0, 1, 2]


def contents(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_blocks_of_any_size_give_the_same_bytes(tmp_path, cohort, grid):
    row_gb = 3 * SIZE**3 * 2 / 1e9
    whole = contents(build(cohort, grid, tmp_path / "whole.zarr"))
    for rows in (1, 3):
        memory_gb = (rows + 3.5) * row_gb
        assert block_length((len(grid), 3, SIZE, SIZE, SIZE), memory_gb) == rows
        assert contents(build(cohort, grid, tmp_path / f"{rows}.zarr", memory_gb=memory_gb)) == whole
    # One file per landmark row, and few beside: three zarr.json, valid.
    assert len(whole) == len(grid) + 4


def test_rows_longer_than_a_chunk(tmp_path, grid):
    count = INNER_CHUNK + 5
    for i in range(count):
        hu = np.full((len(grid), SIZE, SIZE, SIZE), i, np.int16)
        write_patches(tmp_path / f"s{i}" / "patches.zarr", hu, np.zeros((len(grid), 3), int), np.ones(len(grid), bool))
    ids = [f"s{i}" for i in range(count)]
    build_bank([tmp_path / name for name in ids], ids, tmp_path / "bank.zarr", grid=grid)
    row = open_bank(tmp_path / "bank.zarr").row(2)
    assert row.shape == (count, SIZE, SIZE, SIZE)
    assert row[:, 0, 0, 0].tolist() == row[:, -1, -1, -1].tolist() == list(range(count))


def test_a_missing_subject_is_named_and_leaves_nothing_behind(tmp_path, cohort, grid):
    with pytest.raises(InputError, match=r"s99/patches\.zarr"):
        build(cohort, grid, tmp_path / "bank.zarr", [*IDS, "s99"])
    assert list(tmp_path.iterdir()) == []


def test_a_single_bit_that_flipped_in_a_subjects_patches_is_noticed(tmp_path, grid):
    hu = np.random.default_rng(1).integers(-1024, 2000, (len(grid), SIZE, SIZE, SIZE), dtype=np.int16)
    write_patches(tmp_path / "s1/patches.zarr", hu, np.zeros((len(grid), 3), np.int64), np.ones(len(grid), bool))
    (file,) = (tmp_path / "s1/patches.zarr/hu/c").rglob("0/0/0/0")
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=r"s1/patches\.zarr is damaged"):
        build_bank([tmp_path / "s1"], ["s1"], tmp_path / "bank.zarr", grid=grid)
    assert not (tmp_path / "bank.zarr").exists()


def test_patches_of_another_atlas_are_refused(tmp_path, cohort):
    other = LandmarkGrid.build(sitk.Image((13, 13, 13), sitk.sitkUInt8) + 1, patch_size=SIZE, step=4)
    with pytest.raises(InputError, match=r"s03: .* shape \(8, 4, 4, 4\).* asks for \(27, 4, 4, 4\)"):
        build(cohort, other, tmp_path / "bank.zarr")


@pytest.mark.parametrize(
    ("ids", "memory_gb", "message"),
    [
        (["s01", "s03", "s01"], 1.0, "Participants s01 come twice"),
        ([], 1.0, "0 folders, 0 ids"),
        (IDS, 1e-6, r"bank\.memory_gb is 1e-06, but one landmark row of 3 subjects needs 1\.54e-06"),
    ],
)
def test_bank_says_what_is_wrong(tmp_path, cohort, grid, ids, memory_gb, message):
    with pytest.raises(InputError, match=message):
        build(cohort, grid, tmp_path / "bank.zarr", ids, memory_gb)


def test_something_else_is_not_a_bank(tmp_path, cohort):
    root, _ = cohort
    for path in (tmp_path / "nowhere.zarr", root / "s01" / "patches.zarr"):
        with pytest.raises(InputError, match="is not a bank"):
            open_bank(path)
