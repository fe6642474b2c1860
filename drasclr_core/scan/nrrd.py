"""Read a NRRD header ourselves."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from drasclr_core.base.errors import InputError
from drasclr_core.scan.checks import UNKNOWN_SIDES
from drasclr_core.scan.headers import CONVERT, Stated, head_of, read_fields, text_lines

_KINDS = {  # of a voxel -> as numpy writes it
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    **{"float": "f4", "double": "f8"},
}
_FIELDS = {  # of the format; those that are not read below decide nothing of a 3D volume in mm
    *("type", "dimension", "sizes", "encoding", "endian", "spacings"),
    *("space", "space dimension", "space directions", "space origin"),
    *("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip", "content", "kinds", "labels"),
    *("units", "space units", "sample units", "thicknesses", "centers", "centerings", "measurement frame", "number"),
    *("min", "max", "old min", "old max", "oldmin", "oldmax", "axis mins", "axismins", "axis maxs", "axismaxs"),
}
_TO_LPS = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
}


def read_nrrd(path: Path) -> Stated:
    """Return what a NRRD header states.

    Raises
    ------
    InputError
        If it is not one of a 3D volume whose voxels are raw or packed by gzip, says something twice or nothing of what
        must be known, or names no plain file beside it.
    """
    head = head_of(path)
    blank = re.search(rb"\n\r?\n", head)
    begin = blank.end() if blank else len(head)
    header = read_fields(path, _fields(path, head[:begin]), _FIELDS)
    several = r"(?i)(?!.*(vector|color|point|normal|complex|quaternion|matrix|tensor|list)).*"
    header.check("kinds", several, "one real number a voxel: give the grey-scale volume", missing="")
    header.check_dimensions("dimension")
    kind = _KINDS[header.check("type", "|".join(_KINDS), f"a number of a known kind: {CONVERT}")]
    packed = header.check("encoding", "raw|gzip|gz", f"raw or gzip: {CONVERT}") != "raw"
    order = "<"
    if kind[1] != "1":
        told = header.check("endian", "little|big", f"little or big, the order of a voxel's bytes: {CONVERT}")
        order = "<" if told == "little" else ">"
    for name in ("line skip", "lineskip", "byte skip", "byteskip"):
        header.check(name, "0", f"0: {CONVERT}", missing="0")
    if header.first("space directions", "spacings") is None:
        raise InputError(f"{path}: the header states no voxel spacing: add it, or convert the scan again.")
    signs = np.array(_TO_LPS.get(header.fields.get("space", "").lower(), ()))
    if not signs.size or "space directions" not in header.fields:
        needed = "space directions, or a space such as left-posterior-superior"
        raise InputError(f"{path}: the header lacks {needed}, {UNKNOWN_SIDES}")
    affine = header.vectors("space directions", 3).T * signs[:, None]
    origin_mm = signs * (header.vectors("space origin", 1)[0] if "space origin" in header.fields else 0)
    size, key = header.size("sizes"), header.first("data file", "datafile")
    data = header.data_file(key) if key else path
    length = math.prod(size) * int(kind[1])
    return Stated(size, affine, origin_mm, data, 0 if key else begin, length, packed, order + kind)


def _fields(path: Path, head: bytes) -> Iterator[tuple[str, str]]:
    for line in text_lines(path, head)[1:]:
        if line.startswith("#") or ":=" in line or not line:  # comments, and what programs of their own write
            continue
        name, colon, text = line.partition(":")
        if not colon or name.strip().lower() not in _FIELDS:
            raise InputError(f"{path}: its header has a line that no NRRD has: {CONVERT}.")
        yield name.strip().lower(), text
