"""Check NIfTI-1 files for what ITK passes over in silence: where the voxels begin, missing ones, NaN, unsure axes."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from drasclr_core.base.errors import InputError
from drasclr_core.scan import checks as scan_checks

STARTS = (b"\x5c\x01\0\0", b"\0\0\x01\x5c")  # the header's length, 348, little or big endian
SUFFIXES = (".nii", ".nii.gz")
_HEADER_BYTES, _FIRST_VOXEL = 348, 352
_KIND_BYTE, _SPACING_BYTE, _OFFSET_BYTE, _SLOPE_BYTE, _AXES_BYTE, _MAGIC_BYTE = 70, 80, 108, 112, 252, 344
_FLOATS = {16: "f4", 64: "f8"}  # datatype -> kind of voxel
_KINDS = {**_FLOATS, 2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8"}
_MOST_STRETCH = 0.002  # of a voxel by one of its two sizes in the header against the other
_MOST_TURN_DEG = 1.0  # of an axis by one of the two orientations in the header against the other
_MOST_CODE = 5
_QUATERNION_TOLERANCE = 1e-3
_CHUNK_BYTES = 1 << 20


def check_header(path: Path) -> None:
    """Refuse a header whose numbers cannot be what they stand for; called before ITK reads it.

    Raises
    ------
    InputError
        If the file is no NIfTI-1 of its own, has impossible voxels, or holds no number where its axes are.
    """
    try:
        head = _head(path)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return  # the damage is reported where the whole stream is checked
    check_head(str(path), head)


def check_head(path: str, head: bytes) -> None:
    """Do the same of the first bytes of a file; what they lack at their end is not missed."""
    if not head.startswith(STARTS):
        raise InputError(f"{path}: the content is not NIfTI-1: convert the scan (NIfTI-2 cannot be read).")
    padded = head.ljust(_HEADER_BYTES, b"\0")
    spacing_mm = _unpack("3f", padded, _SPACING_BYTE)
    if not all(0 < value < math.inf for value in spacing_mm):
        raise InputError(f"{path}: the header's voxel spacing is {spacing_mm} mm: correct it, or convert again.")
    if len(head) < _HEADER_BYTES:
        return  # cut short, reported likewise
    if head[_MAGIC_BYTE : _MAGIC_BYTE + 4] != b"n+1\0":
        raise InputError(f"{path}: the header's magic is not n+1, so its voxels are in another file: convert the scan.")
    offset = _unpack("f", head, _OFFSET_BYTE)[0]
    if not (math.isfinite(offset) and offset >= _FIRST_VOXEL and offset == int(offset)):
        raise InputError(
            f"{path}: vox_offset of the header is {offset:g}, but voxels begin at byte {_FIRST_VOXEL} or later: "
            "convert the scan again."
        )
    _check_finite_axes(path, head)


def _check_finite_axes(path: str, head: bytes) -> None:
    qform, sform, *numbers = _unpack("2h18f", head, _AXES_BYTE)
    turn, rows = numbers[:6], numbers[6:]
    for code, name, values in ((qform, "qform", turn), (sform, "sform", rows)):
        if not 0 <= code <= _MOST_CODE:
            raise InputError(
                f"{path}: {name}_code of the header is {code}, not 0 to {_MOST_CODE}: convert the scan again."
            )
        if code > 0 and not np.isfinite(values).all():
            raise InputError(f"{path}: the header's {name} holds NaN or infinity: correct it, or convert again.")
    if qform > 0 and np.square(turn[:3]).sum() > 1 + _QUATERNION_TOLERANCE:
        raise InputError(f"{path}: the header's quaternion is longer than 1: correct it, or convert the scan again.")


def first_voxels(path: Path, count: int) -> npt.NDArray[Any]:
    """Return the first voxels of a file, `count` at most, slope and intercept applied; the others are not read."""
    with _opened(path) as file:
        head = file.read(_HEADER_BYTES)
        kind = np.dtype(_KINDS[int(_unpack("h", head, _KIND_BYTE)[0])]).newbyteorder("<" if head[0] else ">")
        file.seek(int(_unpack("f", head, _OFFSET_BYTE)[0]))
        content = file.read(count * kind.itemsize)
    slope, intercept = _unpack("2f", head, _SLOPE_BYTE)
    stored = np.frombuffer(content, kind, count=len(content) // kind.itemsize)
    is_scaled = math.isfinite(slope) and math.isfinite(intercept) and slope != 0
    return stored * slope + intercept if is_scaled else stored


def check_content(path: Path, size: tuple[int, ...]) -> None:
    """Refuse voxels that are missing, too many or NaN, and axes that may not be the scan's own.

    Parameters
    ----------
    path : path
        Of a file that `check_header` accepts.
    size : tuple of int
        Voxels along x, y, z.

    Raises
    ------
    InputError
        So.
    """
    try:
        head = _head(path)
        kind, bits = map(int, _unpack("2h", head, _KIND_BYTE))
        offset = int(_unpack("f", head, _OFFSET_BYTE)[0])
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error) as error:
        raise InputError(f"{path}: the gzip stream is truncated or damaged: copy the scan again.") from error
    expected = offset + math.prod(size) * bits // 8
    if kind in _FLOATS or path.name.lower().endswith(".gz"):
        found = _checked_bytes(path, offset, expected, _FLOATS.get(kind), plane=math.prod(size[:2]))
    else:
        found = path.stat().st_size
    if found < expected:
        raise InputError(
            f"{path}: {found:,} of {expected:,} bytes are there: the file is truncated; copy the scan again."
        )
    if found > expected + _CHUNK_BYTES:
        raise InputError(
            f"{path}: holds more than the {expected:,} bytes that its header states: the header is another volume's; "
            "convert the scan again."
        )
    check_axes(str(path), head)


def check_axes(path: str, head: bytes) -> None:
    """Refuse axes that are unknown (ITK takes LPS), sheared (it straightens them), or given twice and differently."""
    mirror, *stated_mm = _unpack("4f", head, _SPACING_BYTE - 4)
    qform, sform, *numbers = _unpack("2h18f", head, _AXES_BYTE)
    if max(qform, sform) <= 0:
        raise InputError(f"{path}: qform_code and sform_code are 0 in the header, {scan_checks.UNKNOWN_SIDES}")
    if sform <= 0:
        return
    columns = np.reshape(numbers[6:], (3, 4))[:, :3]
    direction = np.reshape(scan_checks.orthonormal_direction(path, columns.ravel().tolist()), (3, 3))
    sizes_mm = np.linalg.norm(columns, axis=0)
    if np.abs(sizes_mm / stated_mm - 1).max() > _MOST_STRETCH:
        raise InputError(
            f"{path}: voxels are {_by(sizes_mm)} mm by the header's sform, {_by(stated_mm)} mm by its pixdim: correct "
            "the wrong one, or convert the scan again."
        )
    cosines = (direction * _qform_direction(numbers[:3], mirror)).sum(axis=0) if qform > 0 else 1
    turn_deg = np.degrees(np.arccos(np.clip(cosines, -1, 1))).max()
    if not turn_deg <= _MOST_TURN_DEG:
        raise InputError(
            f"{path}: qform and sform of the header differ by {turn_deg:.0f} degrees: set the code of the wrong one to "
            "0, or convert the scan again."
        )


def _qform_direction(quaternion: list[float], mirror: float) -> npt.NDArray[np.float64]:
    """Return the axes, columns of (3, 3) in RAS, that a NIfTI header states as quaternion b, c, d and `pixdim[0]`."""
    vector = np.array(quaternion)
    real = math.sqrt(max(1 - vector @ vector, 0))
    turn = np.outer(vector, vector) + real * np.cross(np.eye(3), vector)
    axes = (real**2 - vector @ vector) * np.eye(3) + 2 * turn
    return axes * (1, 1, -1 if mirror < 0 else 1)


def _checked_bytes(path: Path, offset: int, expected: int, kind: str | None, plane: int) -> int:
    """Return how many bytes the file unpacks to, its checksums verified; stop well after the `expected` ones.

    Floating voxels, of `kind`, from `offset` on, `plane` to a slice, must be finite: ITK reads NaN in NIfTI as 0.
    """
    total = 0
    try:
        with _opened(path) as file:
            head = file.read(offset)
            total = len(head)
            while total <= expected + _CHUNK_BYTES and (chunk := file.read(_CHUNK_BYTES)):
                if kind:
                    stored = np.dtype(kind).newbyteorder("<" if head[0] else ">")
                    voxels = chunk[: max(expected - total, 0) // stored.itemsize * stored.itemsize]
                    values = np.frombuffer(voxels, stored, count=len(voxels) // stored.itemsize)
                    scan_checks.check_finite(str(path), values, plane, (total - offset) // stored.itemsize)
                total += len(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        if "Not a gzipped file" in str(error):  # said where another stream should begin; the first one does
            raise InputError(
                f"{path}: other bytes follow the gzip stream, which is whole: unpack the file and pack it again."
            ) from error
        raise InputError(f"{path}: the gzip stream is truncated or damaged: copy the scan again.") from error
    return total


def _head(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read(_HEADER_BYTES)


def _unpack(kinds: str, head: bytes, at: int) -> tuple[float, ...]:
    return struct.unpack_from(f"{'<' if head[0] else '>'}{kinds}", head, at)


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _by(sizes_mm: Iterable[float]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes_mm)
