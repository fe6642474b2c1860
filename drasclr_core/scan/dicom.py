"""Read the CT of a DICOM folder: choose its series, check that the slices form one regular stack, stack them."""

import logging
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from drasclr_core.base.errors import InputError, is_machine_fault
from drasclr_core.scan import checks as scan_checks
from drasclr_core.scan.dicom_header import Slice, read_header
from drasclr_core.scan.dicom_stack import sort_stack
from drasclr_core.scan.files import quiet_reader

logger = logging.getLogger(__name__)

_LEAST_AXIAL = 0.8  # cosine between slice normal and body axis
_RIVAL_SHARE = 0.5  # another series this long, relative to the longest, makes the choice ambiguous
_ALIKE = 2e-3  # of two orientations' cosines, which headers round
_SPACING_BETWEEN = re.compile(rb"\x18\x00\x88\x00(?:DS(..)|(....))", re.S)  # the tag, and the length of its value


def read_series(folder: Path) -> sitk.Image:
    """Read the one chest CT of a DICOM folder, rescale slope and intercept applied by the reader, once.

    Parameters
    ----------
    folder : Path
        Holds the slices as files, not in subfolders; localizers and short other series may lie beside them.
        Names that begin with a dot are passed over.

    Returns
    -------
    sitk.Image
        Slices sorted along their normal; geometry from the slices' own positions; no header text. What the header
        calls padding, and a CT cannot hold, has become air.

    Raises
    ------
    InputError
        If no series, or more than one, can be the CT; if a slice is unreadable, missing, double, or of another kind
        than the others; if the gantry was tilted.
    """
    with quiet_reader():
        slices = _read_headers(folder)
        stack, step_mm = sort_stack(folder, _choose_series(folder, slices))
        reader = sitk.ImageSeriesReader()
        reader.SetImageIO("GDCMImageIO")
        try:
            with _readable(stack) as paths:
                reader.SetFileNames(paths)
                image = reader.Execute()
        except RuntimeError as error:
            # Without the reader's own words, which may quote the header.
            if is_machine_fault(error):
                raise RuntimeError(f"{folder}: memory or disk failed while it was read.") from None
            raise InputError(f"{folder}: the voxels of a slice cannot be read: copy the series again.") from None
    image.SetSpacing((*image.GetSpacing()[:2], step_mm))  # over the whole length: headers round the gaps
    return _without_padding(image, stack)


def _read_headers(folder: Path) -> list[Slice]:
    slices = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.upper() != "DICOMDIR" and not path.name.startswith("."):
            header = read_header(path)
            if header is not None:
                slices.append(header)
    if not slices:
        raise InputError(f"{folder}: holds no DICOM image: give the folder that holds the slices themselves.")
    return slices


def _choose_series(folder: Path, slices: list[Slice]) -> list[Slice]:
    """Return the longest axial CT series, if no other is nearly as long."""
    groups = _groups(slices)
    candidates = [group for group in groups if all(map(_is_axial_ct, group))]
    if not candidates:
        raise InputError(
            f"{folder}: holds no axial CT series (modalities found: {', '.join(sorted({s.modality for s in slices}))}; "
            f"files: {len(slices)}; slices need a position and an orientation, one slice per file): give a CT series."
        )
    candidates.sort(key=_length_mm, reverse=True)
    chosen = candidates[0]
    rivals = [group for group in candidates[1:] if _length_mm(group) >= _RIVAL_SHARE * _length_mm(chosen)]
    if rivals:
        counts = ", ".join(str(len(group)) for group in [chosen, *rivals])
        raise InputError(
            f"{folder}: holds {len(rivals) + 1} series that could be the CT (slices: {counts}): "
            "move the one to use into a folder of its own."
        )
    for item in slices:
        if item.series == chosen[0].series and item.size == chosen[0].size and _is_flat_ct(item) and item.lacks:
            raise InputError(f"{item.path}: lacks {item.lacks}, which the other slices of its series have: add it.")
    if len(groups) > 1:
        logger.info("%s: took the axial CT of %d slices out of %d series", folder, len(chosen), len(groups))
    return chosen


def _groups(slices: list[Slice]) -> list[list[Slice]]:
    """Return the slices of each series, kernel, size and orientation; acquisitions apart where they interleave."""
    by_series: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for item in slices:
        by_series[item.series, item.kernel, item.size, item.lacks].append(item)
    groups: list[list[Slice]] = []
    for items in by_series.values():
        alike: list[list[Slice]] = []
        for item in items:
            near = (
                group
                for group in alike
                if np.abs(np.subtract(item.orientation, group[0].orientation)).max() <= _ALIKE or item.lacks
            )
            if (group := next(near, None)) is None:
                alike.append([item])
            else:
                group.append(item)
        for group in alike:
            groups += [group] if group[0].lacks else _acquisitions(group)
    return groups


def _acquisitions(group: list[Slice]) -> list[list[Slice]]:
    """Return the slices of each acquisition where two cover the same place; else all, as of one in several parts."""
    parts: dict[str, list[Slice]] = defaultdict(list)
    for item in group:
        parts[item.acquisition].append(item)
    normal = group[0].normal
    ends = sorted(
        (min(along), max(along))
        for along in ([float(np.dot(item.position_mm, normal)) for item in part] for part in parts.values())
    )
    for (first, last), (begin, end) in zip(ends, ends[1:], strict=False):
        if min(last, end) - begin > 0.5 * min(last - first, end - begin):
            return list(parts.values())
    return [group]


def _is_flat_ct(item: Slice) -> bool:
    return item.modality == "CT" and not item.localizer and item.frames == 1


def _is_axial_ct(item: Slice) -> bool:
    return _is_flat_ct(item) and not item.lacks and abs(float(item.normal[2])) >= _LEAST_AXIAL


def _length_mm(stack: list[Slice]) -> float:
    along_mm = [float(np.dot(item.position_mm, stack[0].normal)) for item in stack]
    return max(along_mm) - min(along_mm)


@contextmanager
def _readable(stack: list[Slice]) -> Iterator[list[str]]:
    """Yield paths that ITK reads: it refuses a SpacingBetweenSlices of 0, so copies say 1; positions decide."""
    if not any(item.zero_spacing for item in stack):
        yield [str(item.path) for item in stack]
        return
    with tempfile.TemporaryDirectory(prefix="drasclr-") as folder:
        paths = []
        for place, item in enumerate(stack):
            copy = Path(folder, f"{place:06d}.dcm")
            copy.write_bytes(_with_spacing_of_one(item.path.read_bytes()))
            paths.append(str(copy))
        yield paths


def _with_spacing_of_one(content: bytes) -> bytes:
    """Return a DICOM file, little endian, whose SpacingBetweenSlices is 1."""
    if not (found := _SPACING_BETWEEN.search(content)):
        return content
    length = int.from_bytes(found[1] or found[2], "little")
    return content[: found.end()] + b"1".ljust(length) + content[found.end() + length :]


def _without_padding(image: sitk.Image, stack: list[Slice]) -> sitk.Image:
    """Return the image with air where the header says padding, as far as no CT holds such values.

    Padding within the range of a CT stays: headers that name 0 HU, or water, exist. What lies below air becomes air in
    `checks.to_hu`.
    """
    bright = [[(low, high) for low, high in item.padding_hu if high >= scan_checks.HIGHEST_HU] for item in stack]
    if not any(bright):
        return image
    values = sitk.GetArrayFromImage(image)
    for plane, ranges in zip(values, bright, strict=True):
        for low, high in ranges:
            plane[(plane >= max(low, scan_checks.HIGHEST_HU)) & (plane <= high)] = scan_checks.AIR_HU
    cleaned = sitk.GetImageFromArray(values)
    cleaned.CopyInformation(image)
    return cleaned
