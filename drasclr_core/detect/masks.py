"""Where in the lungs a detector sees emphysema, voxel by voxel, and how right it is where the truth is known."""

import logging
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.subject import Subject
from drasclr_core.base.files import Record, read_record
from drasclr_core.cohort.boxes import SUBTYPES
from drasclr_core.detect.finetuned import Detector
from drasclr_core.model.dense import dense_values
from drasclr_core.phantom.labels import DISEASES
from drasclr_core.scan.images import read_image, write_image

logger = logging.getLogger(__name__)

_LEVELS = 255
_HALF = 128  # stored values from here on are probabilities of one half or more


def mask_subject(
    subject: Subject,
    detectors: Mapping[str, Detector | str],
    folder: Path,
    *,
    stride: int,
    block: int,
    truth: Path | None = None,
) -> dict[str, Any]:
    """Write the probability of each subtype at every lung voxel; return the metrics for the record.

    Parameters
    ----------
    subject : Subject
        With the folders ingest, segment and register.
    detectors : mapping
        As of `finetuned.load_detectors`: those that have not seen the subject.
    folder : path
        Gets ``{subtype}.nii.gz`` of each subtype with a detector (`read_probability`).
    stride, block : int
        As for `dense.dense_values`.
    truth : path, optional
        A phantom's mask of its diseases, on the scan's own grid.

    Returns
    -------
    dict
        Of each subtype ``features``, which of the encoder's, and ``fraction``, the share of lung voxels with a
        probability of one half or more; or, without a detector, the ``reason`` alone. Where the truth is known also
        ``true_fraction``, ``dice`` and ``auroc`` over the lung voxels, None where one is undefined, and ``counts``:
        lung voxels without and with the disease, by stored value 0 to 255.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.3.1 (Figures 3 and 4).
    """
    lungs = sitk.GetArrayViewFromImage(subject.lungs) > 0
    labels = None if truth is None else true_labels(truth, subject.ct)
    metrics: dict[str, Any] = {}
    for subtype, detector in detectors.items():
        if isinstance(detector, str):
            logger.warning("%s: %s", subject.participant_id, detector)
            metrics[subtype] = {"reason": detector}
            continue
        tuned, classifier = detector
        found = dense_values(
            tuned, subject.ct, subject.lungs, subject.transform, stride=stride, block=block, head=classifier
        )
        stored = stored_probability(found.spread(lungs)[0], lungs)
        image = sitk.GetImageFromArray(stored)
        image.CopyInformation(subject.ct)
        write_image(image, folder / f"{subtype}.nii.gz")
        diseased = None if labels is None else labels[lungs] == 1 + DISEASES.index(subtype)
        metrics[subtype] = {"features": tuned.encoder.features, **mask_metrics(stored[lungs], diseased)}
    return metrics


def read_probability(folder: str | Path, subtype: str) -> sitk.Image:
    """Return the probability of a subtype as an image, float32, 0 outside of the lungs; in steps of 1/255."""
    return sitk.Cast(read_image(Path(folder) / f"{subtype}.nii.gz"), sitk.sitkFloat32) / _LEVELS


def mask_metrics(stored: npt.NDArray[np.uint8], diseased: npt.NDArray[np.bool_] | None) -> dict[str, Any]:
    """Return the metrics of one subtype from the lung voxels' stored values and, if known, their disease, (V,)."""
    positive = stored >= _HALF
    metrics: dict[str, Any] = {"fraction": float(positive.mean())}
    if diseased is None:
        return metrics
    counts = np.stack([np.bincount(stored[kind], minlength=_LEVELS + 1) for kind in (~diseased, diseased)])
    either = int(positive.sum() + diseased.sum())
    return {
        **metrics,
        "true_fraction": float(diseased.mean()),
        "dice": 2 * int((positive & diseased).sum()) / either if either else None,
        "auroc": auroc_of_counts(counts),
        "counts": counts.tolist(),
    }


def auroc_of_counts(counts: npt.ArrayLike) -> float | None:
    """Return the area under the ROC curve of binned scores; scores of one bin tie.

    Parameters
    ----------
    counts : (2, bins) array
        Negatives and positives per bin, scores rising.

    Returns
    -------
    float or None
        None without negatives or without positives.
    """
    negatives, positives = np.asarray(counts, np.float64)
    if not negatives.sum() or not positives.sum():
        return None
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / (negatives.sum() * positives.sum()))


def summarise_masks(
    folders: Iterable[str | Path], gold: Mapping[str, float], included: Container[str], wanted: int | None = None
) -> dict[str, Any]:
    """Return the masks of a cohort in figures.

    Parameters
    ----------
    folders : iterable of paths
        Of the subjects, as `mask_subject` filled them, each with its record; in the order in which they were drawn.
    gold : mapping
        Participant id -> GOLD stage (-1 PRISm); who lacks one is absent.
    included : container of str
        Participant ids. Cutting patches, which may exclude a subject, is no stage before its masks.
    wanted : int, optional
        Of the included, as many, the first drawn; the others were spares.

    Returns
    -------
    dict
        JSON-able: ``notes``, which subtype lacks masks and why; ``subjects``, each with ``participant_id, gold, fold``
        and per subtype ``fraction`` and what else is known, or ``reason``, why there is no mask of it; ``excluded``,
        the others; and ``pooled``, where the truth is known: of each subtype ``auroc`` over the lung voxels of all
        subjects together, ``mean_dice`` and ``mean_auroc`` over ``n_dice`` and ``n_auroc`` subjects.
    """
    records = [read_record(folder) for folder in folders]
    left_out = {record.participant_id for record in records if record.excluded or record.participant_id not in included}
    used = [record for record in records if record.participant_id not in left_out][:wanted]
    subjects = []
    for record in used:
        figures = {name: {k: v for k, v in record.metrics[name].items() if k != "counts"} for name in SUBTYPES}
        who = {"participant_id": record.participant_id, "gold": gold.get(record.participant_id)}
        subjects.append({**who, "fold": record.metrics["fold"], **figures})
    pooled = {name: pooled_figures([record.metrics[name] for record in used]) for name in SUBTYPES}
    excluded = [record.participant_id for record in records if record.participant_id in left_out]
    return {"notes": list(_notes(used)), "subjects": subjects, "excluded": excluded, "pooled": pooled}


def figure_subjects(gold: Mapping[str, float], seed: int) -> dict[int, str]:
    """Return GOLD stage 0 to 4 -> one subject of that stage, drawn at random; stages that nobody has are absent."""
    rng = np.random.default_rng(seed)
    stages = {stage: sorted(name for name, value in gold.items() if value == stage) for stage in range(5)}
    return {stage: str(rng.choice(names)) for stage, names in stages.items() if names}


def _notes(records: list[Record]) -> Iterator[str]:
    for subtype in SUBTYPES:
        reasons = Counter(record.metrics[subtype].get("reason") for record in records)
        for reason, count in sorted((reason, count) for reason, count in reasons.items() if reason):
            yield f"{subtype}: {count} of {len(records)} subjects without a mask: {reason}."


def pooled_figures(metrics: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the figures of one subtype over subjects, of `mask_metrics`; None where no truth is known."""
    found = [each for each in metrics if "counts" in each]
    if not found:
        return None
    summary: dict[str, Any] = {"auroc": auroc_of_counts(np.sum([each["counts"] for each in found], axis=0))}
    for metric in ("dice", "auroc"):
        defined = [each[metric] for each in found if each[metric] is not None]
        summary[f"mean_{metric}"] = float(np.mean(defined)) if defined else None
        summary[f"n_{metric}"] = len(defined)
    return summary


def stored_probability(probability: npt.NDArray[np.float32], lungs: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return probabilities as uint8; one half and above are 128 and above."""
    stored = np.zeros(lungs.shape, np.uint8)
    stored[lungs] = np.floor(probability[lungs] * _LEVELS + 0.5)
    return stored


def true_labels(truth: Path, ct: sitk.Image) -> npt.NDArray[np.uint8]:
    """Return the disease at each voxel of the isotropic volume: that of the scan's nearest voxel."""
    nearest = sitk.Resample(read_image(truth), ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return sitk.GetArrayFromImage(nearest)
