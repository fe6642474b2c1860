"""Linear detectors slid over the lungs of phantoms: what a fine-tuned detector must beat, voxel by voxel."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from sklearn.pipeline import Pipeline

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.patches import cut_patches
from drasclr_core.atlas.subject import Subject
from drasclr_core.cohort.boxes import SUBTYPES
from drasclr_core.detect.masks import mask_metrics, pooled_figures, stored_probability, true_labels
from drasclr_core.detect.patches import BoxPatches
from drasclr_core.detect.scoring import fit_detector
from drasclr_core.detect.windows import BoxGrid
from drasclr_core.model.dense import BEFORE, DenseValues, window_codes, window_voxels
from drasclr_core.model.encoder import PATCH_SIZE
from drasclr_core.phantom.labels import DISEASES

logger = logging.getLogger(__name__)

_AT_ONCE = 256  # windows in memory

Values = Callable[[BoxPatches, BoxGrid], npt.NDArray[np.float32]]
"""As `linear.evaluate_linear` takes them."""


def judge_linear_masks(
    values: Values,
    patches: BoxPatches,
    subjects: Iterable[tuple[Subject, Path]],
    folds: Mapping[str, int],
    grid: LandmarkGrid,
    *,
    stride: int,
    readout: str,
    seed: int,
) -> dict[str, Any]:
    """Return how right the masks of linear detectors are, over all lung voxels of phantoms.

    A detector is a logistic regression on the features of the boxes and healthy patches of the other folds, as in
    Table 5; its masks are those of `masks.mask_subject`, and are not kept.

    Parameters
    ----------
    values : callable
        Makes the features of windows.
    patches : BoxPatches
        All of the cohort.
    subjects : iterable of (Subject, path)
        With the folders ingest, segment and register; the path is that of the true diseases on the scan's own grid.
    folds : mapping
        Participant id -> fold.
    grid : LandmarkGrid
        Of the atlas.
    stride : int
        Between windows, in voxels.
    readout, seed
        As for `scoring.linear_detector`.

    Returns
    -------
    dict
        JSON-able: ``n``, subjects, and ``pooled``, as of `masks.summarise_masks`; of a subtype without any
        detector None.
    """

    @cache
    def detectors(fold: int) -> dict[str, Pipeline]:
        return dict(_detectors(values, patches, fold, readout=readout, seed=seed))

    count = 0
    found: dict[str, list[dict[str, Any]]] = {subtype: [] for subtype in SUBTYPES}
    for count, (subject, truth) in enumerate(subjects, start=1):
        fitted = detectors(folds[subject.participant_id])
        for subtype, metrics in _judge_subject(values, fitted, subject, grid, truth, stride):
            found[subtype].append(metrics)
        logger.info("%s: %d subjects", subject.participant_id, count)
    return {"n": count, "pooled": {subtype: pooled_figures(metrics) for subtype, metrics in found.items()}}


def lung_windows(subject: Subject, grid: LandmarkGrid, voxels: npt.NDArray[np.int64]) -> Iterator[BoxPatches]:
    """Yield the windows at a subject's voxels, (n, 3), some at a time, as patches of boxes one voxel wide."""
    codes = window_codes(voxels, subject.ct, subject.transform, grid)
    centres_mm = np.array([subject.ct.TransformIndexToPhysicalPoint(voxel[::-1].tolist()) for voxel in voxels])
    volumes = [sitk.GetArrayViewFromImage(image) for image in (subject.ct, subject.lungs)]
    for part in np.array_split(np.arange(len(voxels)), -(-len(voxels) // _AT_ONCE)):
        hu, lungs = (cut_patches(volume, voxels[part] - BEFORE, PATCH_SIZE)[0] for volume in volumes)
        name = np.full(len(part), subject.participant_id)
        yield BoxPatches(
            hu=hu,
            lungs=(lungs > 0).astype(np.uint8),
            codes=codes[part],
            code_steps=np.zeros((len(part), 3, 3)),
            centres_mm=centres_mm[part],
            folds=np.full(len(part), -1),
            participants=name,
            persons=name,
            subtypes=np.full(len(part), ""),
        )


def _detectors(
    values: Values, patches: BoxPatches, fold: int, *, readout: str, seed: int
) -> Iterator[tuple[str, Pipeline]]:
    """Yield the detector of each subtype that has boxes and healthy patches outside of a fold."""
    for subtype in SUBTYPES:
        chosen = patches.take(patches.detection(subtype))
        chosen = chosen.take(chosen.folds != fold)
        labels = chosen.subtypes == subtype
        if labels.any() and not labels.all():
            features = values(chosen, BoxGrid.centre(chosen))[:, 0]
            yield subtype, fit_detector(features, labels, chosen.persons, readout=readout, seed=seed)[0]


def _judge_subject(
    values: Values,
    detectors: Mapping[str, Pipeline],
    subject: Subject,
    grid: LandmarkGrid,
    truth: Path,
    stride: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    lungs = sitk.GetArrayViewFromImage(subject.lungs)
    voxels, labels = window_voxels(lungs, stride), true_labels(truth, subject.ct)
    windows = lung_windows(subject, grid, voxels)
    features = np.concatenate([values(part, BoxGrid.centre(part))[:, 0] for part in windows]).astype(np.float64)
    for subtype, detector in detectors.items():
        probability = detector.predict_proba(features)[:, 1:].astype(np.float32)
        spread = DenseValues(voxels, probability, stride).spread(lungs > 0)[0]
        stored = stored_probability(spread, lungs > 0)
        yield subtype, mask_metrics(stored[lungs > 0], labels[lungs > 0] == 1 + DISEASES.index(subtype))
