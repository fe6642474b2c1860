"""Where in one scan's lungs the fine-tuned detectors see emphysema, on the scan's own grid."""

import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.subject import Subject
from drasclr_core.base.errors import InputError
from drasclr_core.base.files import atomic_path
from drasclr_core.cohort.boxes import SUBTYPES
from drasclr_core.detect.finetuned import Detector, load_detector, trained_folds
from drasclr_core.model.dense import dense_values
from drasclr_core.model.embed_scan import Progress, ScanReader
from drasclr_core.model.files import DETECTOR
from drasclr_core.model.folder import Model
from drasclr_core.scan.images import read_ct, write_image

_NOTE, _NOTE_LETTERS = "ITK_FileNotes", 79  # ITK makes it descrip of a NIfTI header, which holds so many
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def load_ensembles(folder: str | Path, model: Model) -> dict[str, list[Detector]]:
    """Return the detectors of each subtype, one per fold, on the model's device.

    Parameters
    ----------
    folder : path
        As the workflow writes it: ``{subtype}/fold-K.safetensors`` and ``detector.json``.
    model : Model
        The one that they were trained from.

    Raises
    ------
    InputError
        If the folder is none of detectors, they are damaged or of another model, or none could be trained.
    """
    folder, ensembles = Path(folder), {}
    if not any(folder.glob(f"*/{DETECTOR}")):
        raise InputError(
            f"{folder} holds no {DETECTOR}: give the folder `detector` of the model's run (--detectors). The workflow "
            f"makes it of annotated boxes: snakemake --cores 2 -- {folder}/SHA256SUMS"
        )
    for subtype in SUBTYPES:
        folds = trained_folds(folder / subtype, model)
        ensembles[subtype] = [load_detector(folder / subtype, fold, model) for fold in folds]
    if not any(ensembles.values()):
        raise InputError(f"{folder}: no detector could be trained, so there is nothing to detect with.")
    return ensembles


def detect_scan(
    reader: ScanReader,
    ensembles: Mapping[str, list[Detector]],
    scan: str | Path,
    target: Path,
    progress: Progress,
    *,
    stride: int,
    probability: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Write an image of a scan's emphysema, on the scan's own grid; return the metrics of the stages and ``detect``.

    The probability of a subtype is the mean over the detectors of its folds: none of them has seen a new scan. It is
    computed on the model's grid, in windows that each have their own location, and brought to the scan's grid by
    nearest neighbour.

    Parameters
    ----------
    reader : ScanReader
    ensembles : mapping
        As `load_ensembles` returns it.
    scan : path
    target : path
        Image to write, one of `IMAGE_SUFFIXES`: uint8, 1 where the probability of centrilobular emphysema is one half
        or more, 2 likewise paraseptal (the more probable, where both are), 0 elsewhere. Another file than the scan:
        what is there is removed first.
    progress : callable
    stride : int
        Between windows, in voxels of the model's grid.
    probability : str, optional
        A subtype: write its probability instead, float32, 0 outside of the lungs.

    Returns
    -------
    dict
        ``detect`` holds per subtype the ``fraction`` of lung voxels with a probability of one half or more.
    """
    target.unlink(missing_ok=True)  # an older one would be taken for this scan's
    with tempfile.TemporaryDirectory(prefix="drasclr-") as work:
        subject, metrics = reader.align(scan, Path(work), progress)
        lungs = sitk.GetArrayViewFromImage(subject.lungs) > 0
        found = {}
        for subtype, detectors in ensembles.items():
            if detectors:
                tell = functools.partial(_tell, progress, subtype, len(detectors))
                found[subtype] = _mean_probability(subject, detectors, stride, tell)
        seen = {subtype: {"fraction": float((found[subtype][lungs] >= 0.5).mean())} for subtype in found}
        image = sitk.GetImageFromArray(_labels(found) if probability is None else np.nan_to_num(found[probability]))
        image.CopyInformation(subject.ct)
    progress("writing")
    drawn = sitk.Resample(image, read_ct(scan), sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    drawn.SetMetaData(_NOTE, note_of(reader.model))
    with atomic_path(target) as partial:
        write_image(drawn, partial)
    return {**metrics, "detect": seen}


def note_of(model: Model) -> str:
    """Return what the header of an image says of the model: words of ours, none of the scan's."""
    beware = "not to be believed: " if model.origin_warning else ""
    return f"{beware}encoder trained on {model.trained_on}"[:_NOTE_LETTERS]


def _tell(progress: Progress, subtype: str, count: int, number: int) -> None:
    progress(f"looking for {subtype} emphysema, detector {number} of {count}")


def _mean_probability(
    subject: Subject, detectors: list[Detector], stride: int, tell: Callable[[int], None]
) -> npt.NDArray[np.float32]:
    """Return the mean probability over the detectors, (Z, Y, X), NaN outside of the lungs."""
    each, images = [], (subject.ct, subject.lungs, subject.transform)
    for number, (tuned, classifier) in enumerate(detectors, start=1):
        tell(number)
        each.append(dense_values(tuned, *images, stride=stride, block=stride, head=classifier))
    mean = replace(each[0], values=np.mean([found.values for found in each], axis=0))
    return mean.spread(sitk.GetArrayViewFromImage(subject.lungs))[0]


def _labels(found: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.uint8]:
    first = next(iter(found.values()))
    labels, highest = np.zeros(first.shape, np.uint8), np.full(first.shape, 0.5, np.float32)
    for number, subtype in enumerate(SUBTYPES, start=1):
        if subtype in found:
            wins = found[subtype] >= highest  # NaN, outside of the lungs, never does
            labels[wins], highest[wins] = number, found[subtype][wins]
    return labels
