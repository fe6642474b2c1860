"""Read a landmark row of a bank from its file into memory that is already there.

zarr copies each chunk several times, into memory that is new each time. Here a few threads, which hold no lock
meanwhile, decode the chunks to their places. The files are plain zarr v3 and can be read by zarr as well.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import Blosc
from numcodecs.checksum32 import CRC32C
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from drasclr_core.atlas.patches import OUTSIDE_HU
from drasclr_core.base.errors import DamagedError
from drasclr_core.base.stores import WHOLE

THREADS = 2  # the caller is one of them
# Subjects per inner chunk: large enough to decode fast, small enough that the threads end together in a small cohort.
INNER_CHUNK = 16

_CHECKSUM_BYTES = 4
_ABSENT = 2**64 - 1  # offset and length of a chunk that holds the fill value alone
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}

Row = npt.NDArray[np.int16]


class _WrongBytesError(Exception):
    """What is wrong with a file."""


def row_compressor() -> BloscCodec:
    """Return the codec of a bank's rows: of those tried the fastest to decode."""
    return BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2)


def create_rows(group: zarr.Group, shape: tuple[int, ...], compressor: BloscCodec | None) -> zarr.Array:
    """Create the array ``hu`` (L, N, P, P, P) int16 of a bank, one file per landmark row, each row decoded in parts.

    Each part has a checksum.

    Parameters
    ----------
    group : zarr group
        The bank.
    shape : tuple of int
        L, N, P, P, P.
    compressor : BloscCodec or None
        Of the rows; None leaves them as they are.
    """
    inner = min(INNER_CHUNK, shape[1])
    whole = -(-shape[1] // inner) * inner  # a shard holds whole inner chunks
    return group.create_array(
        "hu",
        shape=shape,
        dtype=np.int16,
        chunks=(1, inner, *shape[2:]),
        shards=(1, whole, *shape[2:]),
        compressors=[Crc32cCodec()] if compressor is None else [compressor, Crc32cCodec()],
        fill_value=OUTSIDE_HU,
        **WHOLE,
    )


@dataclass(frozen=True)
class RowFiles:
    """The files of the rows of an array that `create_rows` laid out.

    Attributes
    ----------
    array : zarr array (L, N, P, P, P) int16
        Names the files.
    folder : path
        The array's.
    inner : int
        Subjects per inner chunk.
    chunks : int
        Inner chunks per file.
    compressed : bool
        Whether they are blosc's.
    checked : bool
        Whether each ends in its checksum, which is verified when the chunk is read for the first time: always would
        cost a tenth more. Banks of earlier versions have none.
    """

    array: zarr.Array
    folder: Path
    inner: int
    chunks: int
    compressed: bool
    checked: bool
    _helpers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS - 1), repr=False)
    _verified: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set), repr=False)

    @classmethod
    def of(cls, array: zarr.Array) -> Self | None:
        """Return the files of `array`, or None where it is laid out otherwise or is not in a file system."""
        if not isinstance(array.store, LocalStore) or array.dtype != np.dtype("<i2") or array.shards is None:
            return None
        (sharded,) = cast(Any, array.metadata.to_dict()["codecs"])
        sharding = sharded["configuration"]
        inner_codecs = [codec["name"] for codec in sharding["codecs"]]
        whole_rows = array.shards[0] == 1 and array.shards[1] >= array.shape[1] and array.shards[2:] == array.shape[2:]
        whole_patches = array.chunks[0] == 1 and array.chunks[2:] == array.shape[2:]
        known = [*sharding["index_codecs"]] == [_BYTES, {"name": "crc32c"}] and sharding["index_location"] == "end"
        checked = inner_codecs[-1] == "crc32c"
        stored = inner_codecs[:-1] if checked else inner_codecs
        if not (whole_rows and whole_patches and known and stored in (["bytes"], ["bytes", "blosc"])):
            return None
        return cls(
            array=array,
            folder=Path(array.store.root) / array.path,
            inner=array.chunks[1],
            chunks=array.shards[1] // array.chunks[1],
            compressed="blosc" in inner_codecs,
            checked=checked,
        )

    def read(self, landmark: int, out: Row, begin: int = 0) -> None:
        """Fill `out` (n, P, P, P) with the patches of a landmark's subjects from `begin` on.

        Raises
        ------
        DamagedError
            If the file is missing, cut short or damaged.
        """
        path = self.folder / self.array.metadata.encode_chunk_key((landmark, *[0] * (self.array.ndim - 1)))
        places = iter(range(begin // self.inner, -(-(begin + len(out)) // self.inner)))
        try:
            with path.open("rb", buffering=0) as file:
                row = _OpenRow(file.fileno(), self._index(file.fileno()), self._verified[landmark])
                # A task per thread, not per chunk: handing out every chunk took about a tenth of the time.
                read = partial(self._read_chunks, row, out, begin, places)
                shares = [self._helpers.submit(read) for _ in range(THREADS - 1)]
                try:
                    read()
                finally:
                    wait(shares)
                for share in shares:
                    share.result()
        except FileNotFoundError as error:
            raise DamagedError(path, "it is missing") from error
        except _WrongBytesError as error:
            raise DamagedError(path, str(error)) from error

    def _index(self, file: int) -> npt.NDArray[np.uint64]:
        """Return (chunks, 2) offsets and lengths, in bytes, from the end of a shard, whose checksum is verified."""
        length = 16 * self.chunks + 4
        encoded = _read_bytes(file, max(os.fstat(file).st_size - length, 0), length)
        try:
            decoded = CRC32C(location="end").decode(encoded)
        except RuntimeError as error:
            raise _WrongBytesError("its index has a wrong checksum") from error
        return np.frombuffer(decoded, "<u8").reshape(self.chunks, 2)

    def _read_chunks(self, row: "_OpenRow", out: Row, begin: int, places: Iterator[int]) -> None:
        for place in places:
            self._read_chunk(row, out, begin, place)

    def _read_chunk(self, row: "_OpenRow", out: Row, begin: int, place: int) -> None:
        first = place * self.inner - begin
        if first >= 0 and first + self.inner <= len(out):
            self._decode(row, place, out[first : first + self.inner])
            return
        chunk = np.empty((self.inner, *out.shape[1:]), np.int16)
        self._decode(row, place, chunk)
        inside = slice(max(first, 0), min(first + self.inner, len(out)))
        out[inside] = chunk[inside.start - first : inside.stop - first]

    def _decode(self, row: "_OpenRow", place: int, chunk: Row) -> None:
        offset, length = (int(value) for value in row.index[place])
        if offset == length == _ABSENT:
            chunk.fill(self.array.fill_value)
            return
        length -= _CHECKSUM_BYTES * self.checked
        encoded: bytes | Row = chunk
        if self.compressed:
            encoded = _read_bytes(row.file, offset, length)
        elif length != chunk.nbytes or os.preadv(row.file, [chunk.data], offset) != length:
            raise _WrongBytesError("a chunk has the wrong size")
        if self.checked and place not in row.verified:
            if _read_bytes(row.file, offset + length, _CHECKSUM_BYTES) != _checksum(encoded):
                raise _WrongBytesError("a chunk has a wrong checksum")
            row.verified.add(place)
        if isinstance(encoded, bytes):
            _decompress(encoded, chunk)


@dataclass(frozen=True)
class _OpenRow:
    file: int  # its descriptor
    index: npt.NDArray[np.uint64]  # (chunks, 2) offsets and lengths, in bytes
    verified: set[int]  # chunks whose checksum was right


def _checksum(encoded: bytes | Row) -> bytes:
    return CRC32C.checksum(encoded).to_bytes(_CHECKSUM_BYTES, "little")


def _decompress(encoded: bytes, chunk: Row) -> None:
    # blosc trusts the two sizes in its header.
    if [int.from_bytes(encoded[at : at + 4], "little") for at in (4, 12)] != [chunk.nbytes, len(encoded)]:
        raise _WrongBytesError("a chunk has the wrong size")
    try:
        Blosc().decode(encoded, out=chunk)
    except RuntimeError as error:
        raise _WrongBytesError("a chunk cannot be decoded") from error


def _read_bytes(file: int, offset: int, length: int) -> bytes:
    if len(found := os.pread(file, length, offset)) != length:
        raise _WrongBytesError("it ends too early")
    return found
