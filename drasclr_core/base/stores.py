"""Our zarr stores: every chunk ends in its checksum, and what is damaged is named."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from drasclr_core.base.errors import DamagedError

if TYPE_CHECKING:
    import zarr


def checked_codecs() -> list[Any]:
    """Return the codecs of an array in a store of ours, whose chunks are compressed and end in their checksum."""
    from zarr.codecs import Crc32cCodec, ZstdCodec  # 0.3 s that the stages without a store need not pay

    return [ZstdCodec(), Crc32cCodec()]


WHOLE: dict[str, Any] = {"config": {"write_empty_chunks": True}, "attributes": {"whole": True}}
"""Options of an array of ours: every chunk is written, so that one that is missing was lost. In earlier versions those
of the fill value alone were not, which `Store.open` knows by the attribute."""


@contextmanager
def naming_damage(path: str | Path) -> Iterator[None]:
    """Turn what zarr makes of a damaged store at `path`, in the block, into a DamagedError."""
    try:
        yield
    except (ValueError, TypeError, KeyError, RuntimeError) as error:  # of the checksum, a decoder, or the JSON
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(path, f"{type(error).__name__}: {error}") from error


def _files(array: Any) -> int:
    """Return the files that an array's chunks, or shards, lie in."""
    return math.prod(
        math.ceil(size / part) for size, part in zip(array.shape, array.shards or array.chunks, strict=True)
    )


@dataclass(frozen=True)
class StoredArray:
    """An array of a store, read where it is indexed; a damaged chunk is a DamagedError."""

    array: "zarr.Array"
    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array."""
        return self.array.shape

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        with naming_damage(self.path):
            found: Any = self.array[key]
        return found


@dataclass(frozen=True)
class Store:
    """A store that is open for reading: its arrays by name, its attributes.

    Raises
    ------
    DamagedError
        Of `open` and of reading, if something of it cannot be decoded or has a wrong checksum.
    """

    group: "zarr.Group"
    path: Path

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open the store at `path`; FileNotFoundError if there is none."""
        import zarr

        # Of an empty file zarr makes what it makes of an absent one: chunks that hold the fill value. Snakemake's own
        # file in a folder is hidden and empty.
        files = [file for file in Path(path).rglob("[!.]*") if file.is_file()]
        for file in files:
            if not file.stat().st_size:
                raise DamagedError(file, "it is empty")
        with naming_damage(path):
            store = cls(zarr.open_group(path, mode="r", zarr_format=3), Path(path))
            for folder in {file.parent for file in Path(path).glob("*/zarr.json")}:
                array, chunks = store.group[folder.name], folder / "c"
                if array.attrs.get("whole") and sum(chunks in file.parents for file in files) < _files(array):
                    raise DamagedError(chunks, "a part of it is missing")
        return store

    def attribute(self, name: str) -> Any:
        """Return an attribute that is always there."""
        with naming_damage(self.path):
            return self.group.attrs[name]

    def __getitem__(self, name: str) -> StoredArray:
        with naming_damage(self.path):
            array: Any = self.group[name]
        return StoredArray(array, self.path)
