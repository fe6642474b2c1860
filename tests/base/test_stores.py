"""Stores whose chunks were lost, and those of earlier versions, which never had the chunks of the fill value."""

import numpy as np
import pytest
import zarr

from drasclr_core.base.errors import DamagedError
from drasclr_core.base.stores import WHOLE, Store, checked_codecs


def write(path, **options):
    group = zarr.create_group(path)
    values = np.zeros((5, 4), np.float32)  # the fill value, throughout
    group.create_array(
        "x", shape=values.shape, chunks=(2, 4), dtype=np.float32, compressors=checked_codecs(), **options
    )[:] = values
    return sorted(file for file in path.rglob("c/*/*"))


def test_every_chunk_is_written_and_missed(tmp_path):
    chunks = write(tmp_path / "store", **WHOLE)
    assert len(chunks) == 3
    assert Store.open(tmp_path / "store")["x"][:].shape == (5, 4)
    chunks[1].unlink()
    with pytest.raises(DamagedError, match=r"store/x/c.*missing"):
        Store.open(tmp_path / "store")


def test_a_shard_counts_as_one(tmp_path):
    shards = write(tmp_path / "store", shards=(4, 4), **WHOLE)
    assert len(shards) == 2
    Store.open(tmp_path / "store")
    shards[0].unlink()
    with pytest.raises(DamagedError):
        Store.open(tmp_path / "store")


def test_a_store_of_an_earlier_version_opens(tmp_path):
    assert write(tmp_path / "store") == []
    assert Store.open(tmp_path / "store")["x"][:].sum() == 0
