"""The patches of the detectors: cut around annotated and healthy places, each with its location and its fold.

Arrays are (z, y, x). The box of a patch is w voxels wide (32 mm); the window *at* its voxel 0 is the patch centred on
the box. What is kept of a subject is the surroundings that the windows at all voxels of the box see, w + 31 a side.
"""

import logging
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import ct_compressor, cut_patches
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.files import atomic_directory
from drasclr_core.base.stores import WHOLE, Store, checked_codecs
from drasclr_core.cohort.boxes import HEALTHY, Box, box_voxels, deal_places
from drasclr_core.cohort.table import BOX_SIZE_MM
from drasclr_core.model.dense import BEFORE, window_codes
from drasclr_core.model.encoder import PATCH_SIZE

logger = logging.getLogger(__name__)

_SHARD = 64  # patches per file
_ARRAYS = ("hu", "lungs", "codes", "code_steps", "centres_mm", "folds")
_TEXTS = ("participants", "persons", "subtypes")


@dataclass(frozen=True)
class BoxPatches:
    """M patches, with their surroundings.

    Attributes
    ----------
    hu : (M, C, C, C) int16 array
        Surroundings in HU, C = w + 31; -1024 beyond the volume.
    lungs : (M, C, C, C) uint8 array
        Lung mask of the same voxels.
    codes : (M, 3) float64 array
        Location code of the patch centred on the box.
    code_steps : (M, 3, 3) float64 array
        By how much the code changes, row by row, one voxel on along z, y, x.
    centres_mm : (M, 3) float64 array
        Centres of the boxes (x, y, z), LPS.
    folds : (M,) int64 array
        Fold of the patch's subject.
    participants, persons, subtypes : (M,) arrays of str
        Of which scan; whose it is (`persons.persons_of`); one of `boxes.SUBTYPES` or `boxes.HEALTHY`.
    left_out : tuple of str
        Why annotated boxes are not among the patches.
    """

    hu: npt.NDArray[np.int16]
    lungs: npt.NDArray[np.uint8]
    codes: npt.NDArray[np.float64]
    code_steps: npt.NDArray[np.float64]
    centres_mm: npt.NDArray[np.float64]
    folds: npt.NDArray[np.int64]
    participants: npt.NDArray[np.str_]
    persons: npt.NDArray[np.str_]
    subtypes: npt.NDArray[np.str_]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def box(self) -> int:
        """Edge w of a box, in voxels."""
        return self.hu.shape[1] - PATCH_SIZE + 1

    @property
    def centre(self) -> int:
        """Where, along each axis of the surroundings, the patch centred on the box begins."""
        return (self.box - 1) // 2

    def detection(self, subtype: str) -> npt.NDArray[np.int64]:
        """Return the patches of one detector: those of the subtype, and the first healthy ones, as many."""
        positive = np.flatnonzero(self.subtypes == subtype)
        return np.concatenate([positive, np.flatnonzero(self.subtypes == HEALTHY)[: len(positive)]])

    def take(self, chosen: npt.NDArray[Any]) -> "BoxPatches":
        """Return some of the patches, by index or mask."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in (*_ARRAYS, *_TEXTS)})


def cut_boxes(
    boxes: Sequence[Box],
    healthy: Sequence[str],
    subject_of: Callable[[str], Subject],
    grid: LandmarkGrid,
    folds: Mapping[str, int],
    persons: Mapping[str, str],
    *,
    seed: int,
    left_out: Sequence[str] = (),
) -> BoxPatches:
    """Cut the patches of annotated boxes, and as many of healthy places as the more frequent subtype has boxes.

    Parameters
    ----------
    boxes : sequence of Box
        Of these subjects; cut subject after subject.
    healthy : sequence of str
        Who lends the healthy places, dealt in rounds in this order.
    subject_of : callable
        Participant id -> subject, with the folders ingest, segment and register; asked for each patch anew, so that it
        decides how many volumes are kept.
    grid : LandmarkGrid
        Of the atlas.
    folds : mapping
        Participant id -> fold.
    persons : mapping
        Participant id -> person.
    seed : int
        Of the healthy places.
    left_out : sequence of str
        Reasons known before; a box outside of its volume is added to them.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.3.1.
    """
    reasons, places = list(left_out), []
    for box in sorted(boxes, key=lambda box: box.participant_id):
        if inside(subject_of(box.participant_id).ct, box.centre_mm):
            places.append(box)
        else:
            where = ", ".join(f"{value:g}" for value in box.centre_mm)
            reasons.append(f"1 box of {box.participant_id}, whose centre ({where}) mm is outside of the scan")
    for reason in reasons:
        logger.warning("left out: %s", reason)
    most = max(Counter(box.subtype for box in places).values(), default=0)
    places += _healthy_places(deal_places(healthy, most), subject_of, seed)
    width = box_voxels(BOX_SIZE_MM, grid.spacing_mm) + PATCH_SIZE - 1
    by_subject = sorted(range(len(places)), key=lambda index: places[index].participant_id)  # each is read once
    cut_at = {index: _cut(places[index], subject_of(places[index].participant_id), grid, width) for index in by_subject}
    cut = [cut_at[index] for index in range(len(places))]
    return BoxPatches(
        hu=np.array([hu for hu, *_ in cut], np.int16).reshape(-1, width, width, width),
        lungs=np.array([lungs for _, lungs, *_ in cut], np.uint8).reshape(-1, width, width, width),
        codes=np.array([codes[0] for *_, codes in cut]).reshape(-1, 3),
        code_steps=np.array([codes[1:] - codes[0] for *_, codes in cut]).reshape(-1, 3, 3),
        centres_mm=np.array([place.centre_mm for place in places]).reshape(-1, 3),
        folds=np.array([folds[place.participant_id] for place in places], np.int64),
        participants=np.array([place.participant_id for place in places], np.str_),
        persons=np.array([persons[place.participant_id] for place in places], np.str_),
        subtypes=np.array([place.subtype for place in places], np.str_),
        left_out=tuple(reasons),
    )


def write_box_patches(path: str | Path, patches: BoxPatches) -> None:
    """Write the patches as a zarr v3 group, atomically."""
    import zarr

    texts = {name: getattr(patches, name).tolist() for name in _TEXTS}
    with atomic_directory(path) as partial:
        group = zarr.create_group(partial, attributes={**texts, "left_out": list(patches.left_out)})
        for name in _ARRAYS:
            values = getattr(patches, name)
            first, crc = checked_codecs()
            layout: dict[str, Any] = {"compressors": [first, crc]}
            if values.ndim == 4:
                shards = {"chunks": (1, *values.shape[1:]), "shards": (_SHARD, *values.shape[1:])}
                layout = {"compressors": [ct_compressor(), crc], **shards}
            group.create_array(name, shape=values.shape, dtype=values.dtype, **layout, **WHOLE)[:] = values


def read_box_patches(path: str | Path) -> BoxPatches:
    """Return the patches that `write_box_patches` wrote."""
    store = Store.open(path)
    fields: dict[str, Any] = {name: store[name][:] for name in _ARRAYS}
    fields |= {name: np.array(store.attribute(name), np.str_) for name in _TEXTS}
    return BoxPatches(**fields, left_out=tuple(store.attribute("left_out")))


def healthy_centres(lungs: sitk.Image, count: int, participant_id: str, seed: int) -> list[tuple[float, float, float]]:
    """Draw places in the lungs of one subject, each lung voxel being as likely as another.

    Parameters
    ----------
    lungs : SimpleITK image
        Lung mask, above 0 inside.
    count : int
        Places; the first of more are the same.
    participant_id, seed
        Decide the places.

    Returns
    -------
    list of (x, y, z)
        Voxel centres in mm.
    """
    voxels = np.argwhere(sitk.GetArrayViewFromImage(lungs) > 0)
    rng = np.random.default_rng([seed, zlib.crc32(participant_id.encode())])
    chosen = voxels[rng.permutation(len(voxels))[:count]]
    return [lungs.TransformIndexToPhysicalPoint(voxel[::-1].tolist()) for voxel in chosen]


def inside(image: sitk.Image, centre_mm: Sequence[float]) -> bool:
    """Return whether a point lies in a voxel of the image."""
    index = np.array(image.TransformPhysicalPointToContinuousIndex(centre_mm))
    return bool(np.all((index > -0.5) & (index < np.array(image.GetSize()) - 0.5)))


def _healthy_places(owners: Sequence[str], subject_of: Callable[[str], Subject], seed: int) -> list[Box]:
    """Return the places in the order in which they were dealt, so that the first ones are of many subjects too."""
    counts = sorted(Counter(owners).items())
    drawn = {name: iter(healthy_centres(subject_of(name).lungs, count, name, seed)) for name, count in counts}
    return [Box(name, HEALTHY, next(drawn[name])) for name in owners]


def _cut(
    place: Box, subject: Subject, grid: LandmarkGrid, width: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], npt.NDArray[np.float64]]:
    """Return HU and lung mask of the surroundings, and the codes (4, 3) of the centred window and of the next three."""
    index = np.array(subject.ct.TransformPhysicalPointToContinuousIndex(place.centre_mm))[::-1]
    at = np.floor(index - (PATCH_SIZE - 1) / 2 + 0.5).astype(np.int64) + BEFORE
    voxels = at + np.vstack([np.zeros((1, 3), np.int64), np.eye(3, dtype=np.int64)])
    codes = window_codes(voxels, subject.ct, subject.transform, grid)
    start = (at - BEFORE - (width - PATCH_SIZE) // 2)[None]
    volumes = (sitk.GetArrayViewFromImage(image) for image in (subject.ct, subject.lungs))
    (hu, _), (lungs, _) = (cut_patches(volume, start, width) for volume in volumes)
    return hu[0], np.maximum(lungs[0], 0), codes
