"""A row read from its file is the row that was written, and zarr reads it as well."""

import shutil

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from drasclr_core.atlas.shards import INNER_CHUNK, RowFiles, create_rows, row_compressor
from drasclr_core.base.errors import DamagedError

SUBJECTS = 2 * INNER_CHUNK + 5
SHAPE = (3, SUBJECTS, 4, 4, 4)
HU = np.random.default_rng(5).integers(-1024, 300, SHAPE).astype(np.int16)
HU[2, :INNER_CHUNK] = -1024
COMPRESSORS = {
    "none": None,
    "ours": row_compressor(),
    "zstd in blosc": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=2),
}


def written(path, compressor):
    array = create_rows(zarr.create_group(path), SHAPE, compressor)
    for landmark, row in enumerate(HU):
        array[landmark] = row
    return zarr.open_group(path, mode="r")["hu"]


@pytest.fixture(scope="module", params=COMPRESSORS)
def array(request, tmp_path_factory):
    return written(tmp_path_factory.mktemp("bank"), COMPRESSORS[request.param])


def test_zarr_reads_what_was_written(array):
    np.testing.assert_array_equal(array[:], HU)


@pytest.mark.parametrize(
    ("begin", "end"), [(0, SUBJECTS), (0, INNER_CHUNK), (7, 9), (15, 33), (20, SUBJECTS), (32, 37), (3, 3)]
)
def test_any_part_of_a_row_is_as_written(array, begin, end):
    files = RowFiles.of(array)
    for landmark in range(3):
        out = np.full((end - begin, 4, 4, 4), 77, np.int16)
        files.read(landmark, out, begin)
        np.testing.assert_array_equal(out, HU[landmark, begin:end])


def test_chunks_that_zarr_left_out_hold_the_fill_value(tmp_path):
    group = zarr.create_group(tmp_path)
    shards, chunks = (1, 3 * INNER_CHUNK, 4, 4, 4), (1, INNER_CHUNK, 4, 4, 4)
    array = group.create_array("hu", shape=SHAPE, dtype=np.int16, chunks=chunks, shards=shards, fill_value=-1024)
    array[2] = HU[2]
    assert RowFiles.of(array) is None  # zarr's own codec
    array = group.create_array("blosc", shape=SHAPE, dtype=np.int16, chunks=chunks, shards=shards, fill_value=-1024,
                               compressors=row_compressor())  # fmt: skip
    array[2] = HU[2]
    out = np.empty(SHAPE[1:], np.int16)
    RowFiles.of(array).read(2, out)
    np.testing.assert_array_equal(out, HU[2])


@pytest.mark.parametrize(
    "changes",
    [
        {"compressors": ZstdCodec()},
        {"shards": None},
        {"shards": (3, 48, 4, 4, 4)},
        {"shards": (1, 32, 4, 4, 4)},
        {"chunks": (1, 16, 2, 4, 4)},
        {"dtype": np.dtype(">i2")},
        {"dtype": np.float32},
    ],
    ids=str,
)
def test_another_layout_is_left_to_zarr(tmp_path, changes):
    ours = {"chunks": (1, 16, 4, 4, 4), "shards": (1, 48, 4, 4, 4), "dtype": np.int16, "compressors": row_compressor()}
    group = zarr.create_group(tmp_path)
    assert RowFiles.of(group.create_array("ours", shape=SHAPE, **ours)) is not None
    assert RowFiles.of(group.create_array("other", shape=SHAPE, **{**ours, **changes})) is None


def test_an_array_in_memory_is_left_to_zarr():
    group = zarr.create_group(zarr.storage.MemoryStore())
    assert RowFiles.of(create_rows(group, SHAPE, None)) is None


def overwritten(at, value):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[at] ^= value
        path.write_bytes(content)

    return damage


@pytest.mark.parametrize("compressor", [None, row_compressor()], ids=["none", "blosc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[500:]),
        overwritten(-1, 1),  # the index's checksum
        overwritten(-10, 1),  # the index
    ],
)
def test_a_damaged_file_is_named(tmp_path, compressor, damage):
    array = written(tmp_path, compressor)
    path = tmp_path / "hu/c/1/0/0/0/0"
    damage(path)
    with pytest.raises(DamagedError, match=rf"{path} is damaged"):
        RowFiles.of(array).read(1, np.empty(SHAPE[1:], np.int16))


@pytest.mark.parametrize("compressor", [None, row_compressor()], ids=["none", "blosc"])
@pytest.mark.parametrize("at", [0, 5, 13, 40, 333])  # blosc's version, decoded and encoded size; voxels
def test_a_single_bit_that_flipped_is_noticed_by_us_and_by_zarr(tmp_path, compressor, at):
    array = written(tmp_path, compressor)
    overwritten(at, 0x40)(tmp_path / "hu/c/1/0/0/0/0")
    with pytest.raises(DamagedError, match="a chunk has a wrong checksum"):
        RowFiles.of(array).read(1, np.empty(SHAPE[1:], np.int16))
    with pytest.raises(ValueError, match="checksum do not match"):
        array[1]


def test_a_chunk_is_checked_once(tmp_path):
    array = written(tmp_path, row_compressor())
    files, out = RowFiles.of(array), np.empty(SHAPE[1:], np.int16)
    files.read(1, out)
    overwritten(40, 0x40)(tmp_path / "hu/c/1/0/0/0/0")
    files.read(1, out)
    with pytest.raises(DamagedError, match="wrong checksum"):
        RowFiles.of(array).read(1, out)


@pytest.mark.parametrize("at", [0, 5, 13])
def test_a_damaged_chunk_without_checksum_is_refused_where_it_cannot_be_decoded(tmp_path, at):
    layout = {"chunks": (1, 16, 4, 4, 4), "shards": (1, 48, 4, 4, 4), "dtype": np.int16}
    array = zarr.create_group(tmp_path).create_array("hu", shape=SHAPE, compressors=row_compressor(), **layout)
    array[1] = HU[1]
    files, out = RowFiles.of(array), np.empty(SHAPE[1:], np.int16)
    files.read(1, out)
    np.testing.assert_array_equal(out, HU[1])
    overwritten(at, 0x40)(tmp_path / "hu/c/1/0/0/0/0")
    with pytest.raises(DamagedError, match="is damaged"):
        files.read(1, out)


def test_every_row_has_a_file_and_one_that_is_lost_is_named(tmp_path):
    array = create_rows(zarr.create_group(tmp_path), SHAPE, row_compressor())
    array[:] = -1024
    files, out = RowFiles.of(array), np.zeros(SHAPE[1:], np.int16)
    files.read(1, out)
    assert (out == -1024).all()
    shutil.rmtree(tmp_path / "hu/c/1")
    with pytest.raises(DamagedError, match="hu/c/1/0/0/0/0 is damaged .it is missing"):
        files.read(1, out)
