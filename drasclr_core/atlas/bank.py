"""The bank: every included subject's patches, landmark-major, so that one landmark's row is one contiguous read."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import STORE, open_patches
from drasclr_core.atlas.shards import RowFiles, create_rows, row_compressor
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_directory
from drasclr_core.base.stores import WHOLE, Store, checked_codecs
from drasclr_core.cohort.persons import person_indices

logger = logging.getLogger(__name__)

# Writing one row takes this many rows of memory beside the block: the shard's copy and its encoded form.
ROWS_IN_FLIGHT = 3


@dataclass(frozen=True)
class Bank:
    """An open bank.

    Attributes
    ----------
    hu : zarr array (L, N, P, P, P) int16
        Patches in HU; one file per landmark row.
    valid : (L, N) bool array
        Whether each patch's centre lies inside the subject's volume.
    participant_ids : list of str
        The N subjects, in the order of the second axis.
    grid : LandmarkGrid
        The L landmarks.
    persons : (N,) int64 array
        Whose scan each subject is: 0, 1, ... in the order of first appearance.
    sha256 : str, optional
        Of the patches and their validity, 64 hexadecimal digits; banks of earlier versions have none.
    """

    hu: zarr.Array
    valid: npt.NDArray[np.bool_]
    participant_ids: list[str]
    grid: LandmarkGrid
    persons: npt.NDArray[np.int64]
    sha256: str | None = None

    def row(self, landmark: int) -> npt.NDArray[np.int16]:
        """Return one landmark's patches of all subjects, (N, P, P, P) int16, C-contiguous."""
        row = np.empty(self.hu.shape[1:], np.int16)
        self.read(landmark, row)
        return row

    def read(self, landmark: int, out: npt.NDArray[np.int16], begin: int = 0) -> None:
        """Fill `out` (n, P, P, P) with one landmark's patches of subjects `begin` to `begin` + n.

        Raises
        ------
        DamagedError
            If the row's file is missing, cut short or damaged.
        """
        if self._files:
            self._files.read(landmark, out, begin)
        else:
            out[:] = self.hu[landmark, begin : begin + len(out)]

    @cached_property
    def _files(self) -> RowFiles | None:
        return RowFiles.of(self.hu)


def build_bank(
    patch_folders: Sequence[str | Path],
    ids: Sequence[str],
    path: str | Path,
    *,
    grid: LandmarkGrid,
    persons: Mapping[str, str] | None = None,
    memory_gb: float = 4.0,
) -> None:
    """Gather the subjects' patch stores into one bank, atomically.

    The work goes in blocks of landmarks: each block reads only its landmarks of each subject. The bytes written do not
    depend on the size of the blocks.

    Parameters
    ----------
    patch_folders : sequence of paths
        One patches stage folder per subject, holding ``patches.zarr``.
    ids : sequence of str
        Participant ids, in the same order, which is the bank's.
    path : path
        The bank's zarr store.
    grid : LandmarkGrid
        The landmarks at which the patches were cut; kept in the bank.
    persons : mapping, optional
        Participant id -> person. By default every subject is its own.
    memory_gb : float
        Memory the patches may take while the bank is built, in 10^9 bytes.

    Raises
    ------
    InputError
        If there are no subjects, an id comes twice, a subject's store is missing or does not fit the grid, or
        `memory_gb` is too small for a single row.
    DamagedError
        If a subject's store is not what was written.
    """
    _check_ids(patch_folders, ids)
    size = grid.patch_size
    shape = (len(grid), len(ids), size, size, size)
    block = block_length(shape, memory_gb)
    with atomic_directory(path) as partial:
        whose = [persons[name] for name in ids] if persons else list(ids)
        attributes = {"participant_ids": list(ids), "persons": whose, "grid": grid.to_json()}
        bank = zarr.create_group(partial, attributes=attributes)
        valid = _read_valid(patch_folders, ids, shape)
        bank.create_array("valid", data=valid, chunks=valid.shape, compressors=checked_codecs(), **WHOLE)
        hu, told = create_rows(bank, shape, row_compressor()), hashlib.sha256(valid.tobytes())
        for begin in range(0, shape[0], block):
            rows = slice(begin, min(begin + block, shape[0]))
            block_of_rows = _read_rows(patch_folders, rows, shape)
            told.update(block_of_rows.data)
            _write_rows(hu, rows, block_of_rows)
            logger.info("bank: %d of %d landmarks of %d subjects", rows.stop, shape[0], shape[1])
        bank.attrs["sha256"] = told.hexdigest()


def open_bank(path: str | Path) -> Bank:
    """Open a bank for reading.

    Raises
    ------
    InputError
        If there is no bank at `path`.
    DamagedError
        If what lies there is one no longer.
    """
    try:
        store = Store.open(path)
        attributes: dict[str, Any] = dict(store.group.attrs)
        participant_ids, grid = attributes["participant_ids"], attributes["grid"]
    except (FileNotFoundError, KeyError) as error:
        raise InputError(f"{path} is not a bank: run the bank stage (build_bank) first.") from error
    hu, valid = store["hu"].array, store["valid"][:]
    # A bank of an earlier version does not say: then every subject is its own person.
    persons = person_indices(attributes.get("persons", participant_ids))
    return Bank(hu, valid, participant_ids, LandmarkGrid.from_json(grid), persons, attributes.get("sha256"))


def block_length(shape: Sequence[int], memory_gb: float) -> int:
    """Return how many rows of a bank of `shape` (L, N, P, P, P) may be gathered at once.

    Raises
    ------
    InputError
        If not even one row fits.
    """
    row_gb = int(np.prod(shape[1:])) * np.dtype(np.int16).itemsize / 1e9
    rows = int(memory_gb / row_gb) - ROWS_IN_FLIGHT
    if rows < 1:
        raise InputError(
            f"bank.memory_gb is {memory_gb}, but one landmark row of {shape[1]} subjects needs "
            f"{(ROWS_IN_FLIGHT + 1) * row_gb:.3g}: raise it."
        )
    return min(rows, shape[0])


def _check_ids(patch_folders: Sequence[str | Path], ids: Sequence[str]) -> None:
    if not ids or len(ids) != len(patch_folders):
        raise InputError(f"A bank needs one patch folder per subject: {len(patch_folders)} folders, {len(ids)} ids.")
    if len(set(ids)) < len(ids):
        twice = sorted(name for name, times in Counter(ids).items() if times > 1)
        raise InputError(f"Participants {', '.join(twice)} come twice: each may have one place in the bank.")


def _read_valid(
    patch_folders: Sequence[str | Path], ids: Sequence[str], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Return (L, N) validity, having checked that every subject's store is there and fits the bank."""
    valid = np.zeros(shape[:2], bool)
    for place, (folder, name) in enumerate(zip(patch_folders, ids, strict=True)):
        store = open_patches(Path(folder) / STORE)
        expected = (shape[0], *shape[2:])
        if (found := store["hu"].shape) != expected:
            raise InputError(
                f"{name}: {folder}/{STORE} holds patches of shape {found}, the landmark grid asks for {expected}: "
                "rerun the patches stage with this atlas."
            )
        valid[:, place] = store["valid"][:]
    return valid


def _read_rows(patch_folders: Sequence[str | Path], rows: slice, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    block = np.empty((rows.stop - rows.start, *shape[1:]), np.int16)
    for place, folder in enumerate(patch_folders):
        block[:, place] = open_patches(Path(folder) / STORE)["hu"][rows]
    return block


def _write_rows(hu: zarr.Array, rows: slice, block: npt.NDArray[np.int16]) -> None:
    # Row by row: zarr encodes all the shards of one assignment at once, in memory.
    for landmark, row in zip(range(rows.start, rows.stop), block, strict=True):
        hu[landmark] = row
