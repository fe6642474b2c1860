"""Tell label maps and masks, which lie beside scans, from CTs."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np

from drasclr_core.base.errors import InputError
from drasclr_core.scan import nifti as scan_nifti
from drasclr_core.scan.headers import first_voxels
from drasclr_core.scan.meta_image import read_meta
from drasclr_core.scan.nrrd import read_nrrd

_WORDS = "seg|dseg|probseg|segmentations?|masks?|lungmask|labels?|labelmaps?|roi"
_NAMED = re.compile(rf"(?i)(?:^|[^a-z0-9])(?:{_WORDS})(?:[^a-z0-9]|$)")
_PEEKED = 1 << 21  # voxels: the first eight slices of a CT, which hold air
_MOST_LABEL = 255
_UNREADABLE = (InputError, OSError, EOFError, zlib.error, struct.error, IndexError, KeyError, ValueError, OverflowError)


def is_label_map(path: Path) -> bool:
    """Return whether a NIfTI, NRRD or MetaImage file is a label map, a mask or a probability, and no CT.

    So is what is called one (``_seg``, ``mask``, ``labelmap`` as a word of its name), and what begins with values from
    0 to 255, or with few values from 0 upwards: a CT begins with air, -1000 HU, and with noise where it is not stored
    as HU. Of a file that cannot be read the name alone tells.
    """
    if _NAMED.search(path.name):
        return True
    try:
        if path.name.lower().endswith(scan_nifti.SUFFIXES):
            values = scan_nifti.first_voxels(path, _PEEKED)
        else:
            read = read_nrrd if path.name.lower().endswith((".nrrd", ".nhdr")) else read_meta
            values = first_voxels(read(path), _PEEKED)
    except _UNREADABLE:
        return False
    if not values.size or not values.min() >= 0:  # NaN is no label
        return False
    return bool(values.max() <= _MOST_LABEL) or len(np.unique(values)) <= _MOST_LABEL
