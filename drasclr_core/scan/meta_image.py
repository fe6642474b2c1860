"""Read a MetaImage header ourselves: some texts in it end the process that gives them to ITK."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from drasclr_core.base.errors import InputError
from drasclr_core.scan.checks import UNKNOWN_SIDES
from drasclr_core.scan.headers import CONVERT, Header, Stated, head_of, read_fields, text_lines

_KINDS = {  # of a voxel -> as numpy writes it
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_AXES = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_ONE_NUMBER = "one real number a voxel: give the grey-scale volume"
_READ = {*_AXES, *_ORIGIN, *_ORDER, "NDims", "DimSize", "ElementType", "ElementSpacing", "ElementSize"}
_YES, _NO = "[Tt]rue|TRUE|1", "[Ff]alse|FALSE|0"


def read_meta(path: Path) -> Stated:
    """Return what a MetaImage header states.

    Raises
    ------
    InputError
        If it is not one of a 3D volume of binary voxels, says something twice or nothing of what must be known, or
        names no plain file beside it.
    """
    head = head_of(path)
    last = re.search(rb"(?:^|\n)ElementDataFile[ \t]*=[^\n]*(?:\n|$)", head)
    if not last:
        raise InputError(f"{path}: the header lacks ElementDataFile, its last line: copy or convert the scan again.")
    header = read_fields(path, _fields(path, head[: last.end()]), _READ)
    header.check("ObjectType", "Image", "Image: give a volume", missing="Image")
    header.check_dimensions("NDims")
    kind = _KINDS[header.check("ElementType", "|".join(_KINDS), _ONE_NUMBER)]
    header.check("ElementNumberOfChannels", "1", _ONE_NUMBER, missing="1")
    header.check("BinaryData", _YES, f"True: {CONVERT}", missing="True")
    for name in (*_ORDER, "CompressedData"):
        header.check(name, f"{_YES}|{_NO}", "True or False: correct it", missing="False")
    header.check("HeaderSize", "0", f"0: {CONVERT}", missing="0")
    header.check("ElementToIntensityFunctionSlope", r"1(\.0*)?", f"1: {CONVERT}", missing="1")
    header.check("ElementToIntensityFunctionOffset", r"0(\.0*)?", f"0: {CONVERT}", missing="0")
    _check_numbers(header)
    size, spacing = header.size("DimSize"), header.first("ElementSpacing", "ElementSize")
    if spacing is None:
        raise InputError(f"{path}: the header states no voxel spacing: add it, or convert the scan again.")
    axes, place = _only(header, _AXES), _only(header, _ORIGIN)
    if axes is None:
        raise InputError(f"{path}: the header lacks TransformMatrix, {UNKNOWN_SIDES}")
    affine = header.numbers(axes, 9).reshape(3, 3).T * header.numbers(spacing, 3)
    origin_mm = header.numbers(place, 3) if place else np.zeros(3)
    local = header.fields["ElementDataFile"].upper() == "LOCAL"
    data = path if local else header.data_file("ElementDataFile")
    begin, packed = last.end() if local else 0, bool(re.fullmatch(_YES, header.fields.get("CompressedData", "")))
    held = data.stat().st_size - begin
    if packed:
        header.check("CompressedDataSize", str(held), f"{held}, the bytes that are there: copy the scan again")
    order = ">" if any(re.fullmatch(_YES, header.fields.get(name, "")) for name in _ORDER) else "<"
    return Stated(size, affine, origin_mm, data, begin, math.prod(size) * int(kind[1]), packed, order + kind)


def _check_numbers(header: Header) -> None:
    """Refuse what ITK would read as numbers and is none."""
    for name, count in {"ElementSize": 3, "CenterOfRotation": 3, "ElementMin": 1, "ElementMax": 1}.items():
        if name in header.fields:
            header.numbers(name, count)


def _only(header: Header, names: tuple[str, ...]) -> str | None:
    """Return the one of several names for the same that has a field."""
    given = [name for name in names if name in header.fields]
    if len(given) > 1:
        raise InputError(f"{header.path}: the header has both {given[0]} and {given[1]}: remove one.")
    return given[0] if given else None


def _fields(path: Path, head: bytes) -> Iterator[tuple[str, str]]:
    for line in text_lines(path, head):
        name, equals, text = line.partition("=")
        if not equals or ":" in name or not name.isascii():
            raise InputError(f"{path}: its header has a line that no MetaImage has: {CONVERT}.")
        yield name.strip(" \t"), text
