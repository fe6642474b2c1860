"""What the text header of a volume file states, and whether its voxels are there.

NRRD and MetaImage headers are read here before ITK sees them: they may name another file that holds the voxels, text
that ends the process, or numbers that ITK reads in another way than was meant.
"""

import math
import re
import stat
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError

CONVERT = "convert the scan again, to .nii.gz"
_HEADER_BYTES = _CHUNK_BYTES = 1 << 20
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_TOLD = r"[-+0-9.,eE() ]*(nan|inf)?[-+0-9.,eE() ]*"  # numbers, and what stands for none
_MOST_TOLD = 60
_PACKED_MORE = 1 << 16
_WHOLE = r"\+?\d{1,9}"


@dataclass(frozen=True)
class Stated:
    """What a header states of a volume.

    Attributes
    ----------
    size : tuple of int
        Voxels along x, y, z.
    affine : (3, 3) array
        From voxels to mm in LPS: its columns are the axes, as long as a voxel.
    origin_mm : (3,) array
        Centre of the first voxel in LPS.
    data : path
        The file that holds the voxels.
    begin, length : int
        First byte of the voxels in `data`, and how many bytes they are once unpacked.
    packed : bool
        Whether they are a gzip or zlib stream.
    kind : str
        Of a voxel, as numpy writes it: ``<i2``.
    """

    size: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    origin_mm: npt.NDArray[np.float64]
    data: Path
    begin: int
    length: int
    packed: bool
    kind: str

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Edges of a voxel, (3,)."""
        return np.linalg.norm(self.affine, axis=0)

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """The axes, columns of unit length, row-major, (9,)."""
        return (self.affine / self.spacing_mm).ravel()


@dataclass(frozen=True)
class Header:
    """The fields of a header, name -> text, each of which stands in it once."""

    path: Path
    fields: dict[str, str]

    def fault(self, name: str, wanted: str) -> InputError:
        """Return the error that a field is not what it must be."""
        told = "is missing; it should be"
        if name in self.fields:
            text = self.fields[name][:_MOST_TOLD]
            told = f"is '{text}', not" if re.fullmatch(_TOLD, text) else "is not"  # no other text of a header is told
        return InputError(f"{self.path}: {name} of the header {told} {wanted}.")

    def check(self, name: str, pattern: str, wanted: str, missing: str = "") -> str:
        """Return a field's text, or `missing`, which must match a pattern; else raise that it is not `wanted`."""
        text = self.fields.get(name, missing)
        if not re.fullmatch(pattern, text):
            raise self.fault(name, wanted)
        return text

    def check_dimensions(self, name: str) -> None:
        """Refuse what is not three-dimensional."""
        text = self.check(name, r"\d{1,3}", f"3: correct it, or {CONVERT}")
        if text != "3":
            raise InputError(f"{self.path}: the image has {text} dimensions, a CT volume has 3: give one 3D volume.")

    def first(self, *names: str) -> str | None:
        """Return the first of these names that has a field."""
        return next((name for name in names if name in self.fields), None)

    def numbers(self, name: str, count: int) -> npt.NDArray[np.float64]:
        """Return the numbers of a field, (count,)."""
        wanted = f"{count} finite numbers: correct it, or {CONVERT}"
        words = self.fields.get(name, "").split()
        values = np.array([float(word) if re.fullmatch(_NUMBER, word) else math.nan for word in words])
        if len(values) != count or not np.isfinite(values).all():
            raise self.fault(name, wanted)
        return values

    def size(self, name: str) -> tuple[int, ...]:
        """Return the voxels along three axes."""
        text = self.check(name, rf"\s*{_WHOLE}(\s+{_WHOLE}){{2}}\s*", f"3 whole numbers: correct it, or {CONVERT}")
        return tuple(map(int, text.split()))

    def vectors(self, name: str, count: int) -> npt.NDArray[np.float64]:
        """Return the vectors of a field, (count, 3)."""
        vector = rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)"
        wanted = f"{count} vectors of 3 numbers: correct it, or {CONVERT}"
        text = self.check(name, rf"\s*{vector}(\s*{vector}){{{count - 1}}}\s*", wanted)
        values = np.array([float(word) for word in re.split(r"[(),\s]+", text) if word])
        if not np.isfinite(values).all():
            raise self.fault(name, wanted)
        return values.reshape(count, 3)

    def data_file(self, key: str) -> Path:
        """Return the file that a field names: a plain file beside the header."""
        name = self.fields[key]
        if not name or re.search(r"[/\\%]|^\.|^LIST", name):
            raise InputError(
                f"{self.path}: {key} of the header is not the plain name of one file beside it: put header and voxels "
                "into one folder, or convert the scan to one file."
            )
        path = self.path.with_name(name)
        try:
            status = path.stat()
        except FileNotFoundError:
            raise InputError(
                f"{self.path}: the file of its voxels, which its {key} names, is not beside it: was it renamed, or "
                "left behind?"
            ) from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{self.path}: what its {key} names is no plain file: {CONVERT}.")
        return path


def head_of(path: Path) -> bytes:
    """Return the beginning of a file, longer than any header."""
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)


def read_fields(path: Path, lines: Iterator[tuple[str, str]], known: Collection[str]) -> Header:
    """Return the header of these lines, (name, text); refuse one that stands in it twice, naming it if it is known."""
    fields: dict[str, str] = {}
    for name, text in lines:
        if name in fields:
            told = name if name in known else "a field"
            raise InputError(f"{path}: the header has {told} twice: remove one.")
        fields[name] = text.strip(" \t")
    return Header(path, fields)


def text_lines(path: Path, head: bytes) -> list[str]:
    """Return the lines of a header, which must be text."""
    text = head.decode("latin-1").replace("\r\n", "\n").rstrip("\n")
    if re.search(r"[\0-\x08\x0b-\x1f\x7f]", text):
        raise InputError(f"{path}: its header holds what is no text: copy or convert the scan again.")
    return text.split("\n")


def first_voxels(stated: Stated, count: int) -> npt.NDArray[Any]:
    """Return the first voxels of a file, `count` at most, without reading the others."""
    kind = np.dtype(stated.kind)
    wanted = min(count * kind.itemsize, stated.length)
    with stated.data.open("rb") as file:
        file.seek(stated.begin)
        content = file.read(wanted)
        if stated.packed:  # to no more bytes than it unpacks to, with room for a header of the stream
            content = zlib.decompressobj(wbits=47).decompress(content + file.read(_PACKED_MORE), wanted)
    return np.frombuffer(content, kind, count=len(content) // kind.itemsize)


def check_axes(stated: Stated, path: Path) -> None:
    """Refuse an axis without a length."""
    if not stated.spacing_mm.min() > 0:
        told = " x ".join(f"{value:g}" for value in stated.spacing_mm)
        raise InputError(f"{path}: the header's voxel spacing is {told} mm: correct it, or {CONVERT}.")


def check_voxels(stated: Stated, path: Path) -> None:
    """Read the voxels' bytes once: all must be there, no others, and their checksums right.

    Raises
    ------
    InputError
        If they are not.
    """
    held = _unpacked(stated, path) if stated.packed else stated.data.stat().st_size - stated.begin
    if held < stated.length:
        raise InputError(
            f"{path}: {max(held, 0):,} of {stated.length:,} bytes of voxels are there: the file is truncated; copy the "
            "scan again."
        )
    if held > stated.length:
        raise InputError(
            f"{path}: holds more than the {stated.length:,} bytes of voxels that its header states: the header is "
            "another volume's; convert the scan again."
        )


def _unpacked(stated: Stated, path: Path) -> int:
    """Return how many bytes a stream unpacks to, a few more than expected at most."""
    stream, total = zlib.decompressobj(wbits=47), 0  # gzip or zlib, by how it begins
    try:
        with stated.data.open("rb") as file:
            file.seek(stated.begin)
            while total <= stated.length and not stream.eof:
                chunk = stream.unconsumed_tail or file.read(_CHUNK_BYTES)
                if not chunk:
                    break
                total += len(stream.decompress(chunk, _CHUNK_BYTES))
            rest = stream.unused_data or file.read(1)
    except zlib.error as error:
        raise InputError(f"{path}: its compressed voxels are damaged: copy the scan again.") from error
    if stream.eof and rest:
        raise InputError(f"{path}: other bytes follow its compressed voxels: {CONVERT}.")
    if total == stated.length and not stream.eof:
        raise InputError(f"{path}: its compressed voxels lack their end and checksum: copy the scan again.")
    return total
