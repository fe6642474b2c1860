"""One scan, from its file to its features, in one process: by the very stages of the workflow."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from drasclr_core.atlas.stages import Metrics, Scan, cut, ingest, register, segment
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.errors import InputError, QualityError
from drasclr_core.config.settings import Features
from drasclr_core.model import folder as model_folder
from drasclr_core.model.embed_bank import embed_locations, subject_features
from drasclr_core.model.files import DESCRIPTION
from drasclr_core.model.folder import Model
from drasclr_core.scan.in_memory import is_one_scan, scan_image
from drasclr_core.scan.lung_weights import check_weights, weights_cache

logger = logging.getLogger(__name__)

CHECK_SPACING_MM = 2.0  # of a scan that no model asks for: as fine as the lungs are found

Progress = Callable[[str], None]
"""Told what happens to a scan now."""


@dataclass(frozen=True)
class ScanFeatures:
    """The features of one scan.

    Attributes
    ----------
    mean : (D,) float32 array
        Mean over the valid landmarks.
    landmarks : (L, D) float32 array
        Of every landmark.
    valid : (L,) bool array
        Whether the centre of a landmark's patch lies inside the scan.
    landmarks_mm : (L, 3) float64 array
        Landmarks in atlas space, LPS millimetres.
    metrics : dict
        Of each stage, as in the workflow's records.
    """

    mean: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    landmarks_mm: npt.NDArray[np.float64]
    metrics: dict[str, Metrics]


@dataclass(frozen=True)
class ScanReader:
    """Brings scans to the atlas of a model, with the settings that its own subjects were brought there with.

    Attributes
    ----------
    model : Model
    lung_weights : path or None
        Those of lungmask, checked; None where the lungs are found by thresholds.
    settings : dict
        ``preprocess``, ``registration``, ``patches``, ``seed``.
    """

    model: Model
    lung_weights: Path | None
    settings: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, model: Model, lung_weights: str | Path | None = None) -> Self:
        """Return the reader of a model.

        Parameters
        ----------
        model : Model
            As `folder.load_model` returns it.
        lung_weights : path, optional
            Of lungmask, where the model needs them; by default the file that ``drasclr fetch-weights`` writes.

        Raises
        ------
        InputError
            If the model has no atlas or lacks a setting, or the weights are missing or not the published ones.
        """
        _ = model.atlas  # read now: an atlas that was replaced is no scan's fault
        given = model.description
        try:
            settings = {name: given[name] for name in ("preprocess", "registration", "patches")}
            settings["seed"], method = given["training"]["seed"], given["segmentation"]["method"]
        except KeyError as error:
            raise InputError(
                f"{model.folder}/{DESCRIPTION} does not say {error}: how to read scans for this model is not known."
            ) from error
        weights = None if method == "threshold" else check_weights(lung_weights or weights_cache())
        return cls(model, weights, settings)

    def align(self, scan: Scan, work: Path, progress: Progress) -> tuple[Subject, dict[str, Metrics]]:
        """Read a scan, find its lungs and register them, in new folders of `work`.

        Returns
        -------
        subject : Subject
            Without patches.
        metrics : dict
            Of each stage.

        Raises
        ------
        InputError, QualityError
            If the scan cannot be used.
        """
        read, found, placed = (work / stage for stage in ("ingest", "segment", "register"))
        for place in (read, found, placed):
            place.mkdir()
        progress("reading and resampling")
        metrics = {"ingest": ingest(scan, read, **self.settings["preprocess"])}
        progress("finding the lungs")
        on_cpu = self.model.encoder.device.type == "cpu"
        metrics["segment"] = segment(read, scan, found, weights=self.lung_weights, on_cpu=on_cpu)
        progress("registering to the atlas")
        seed = self.settings["seed"]
        metrics["register"] = register(found, self.model.atlas, placed, seed=seed, **self.settings["registration"])
        return Subject(str(scan), read, found, placed), metrics

    def cut(self, scan: Scan, work: Path, progress: Progress) -> tuple[Subject, dict[str, Metrics]]:
        """Do the same, and cut the patches."""
        subject, metrics = self.align(scan, work, progress)
        progress("cutting patches")
        patches = work / "patches"
        patches.mkdir()
        places = (work / "ingest", work / "register")
        metrics["patches"] = cut(*places, self.model.grid, patches, **self.settings["patches"])
        return replace(subject, patches_folder=patches), metrics

    def check(self, scan: Scan, progress: Progress) -> dict[str, Metrics]:
        """Return the metrics of a scan's stages, or raise why it would be refused."""
        with tempfile.TemporaryDirectory(prefix="drasclr-") as work:
            return self.cut(scan, Path(work), progress)[1]

    def embed(self, scan: Scan, progress: Progress) -> ScanFeatures:
        """Return the features of a scan; see `embed_scan`."""
        with tempfile.TemporaryDirectory(prefix="drasclr-") as work:
            subject, metrics = self.cut(scan, Path(work), progress)
            hu, valid = subject.patches, subject.valid
        progress("embedding")
        encoder, grid = self.model.encoder, self.model.grid
        codes = torch.from_numpy(grid.codes).to(encoder.device, torch.float32)
        features = embed_locations(hu, codes, encoder)
        mean = subject_features(features[None], valid[:, None])[0]
        return ScanFeatures(mean, features, valid, grid.points_mm, metrics)


class ScanModel(Model):
    """A model that embeds scans."""

    def embed(self, scan: Any, affine: Any = None, *, lung_weights: str | Path | None = None) -> Any:
        """Return the features of a scan, or of each of several scans in turn.

        Parameters
        ----------
        scan : path, SimpleITK.Image, nibabel image, (I, J, K) array, or an iterable of such
            A NIfTI, NRRD or MHA file, the folder of a DICOM series, or an image in memory: Hounsfield units. In an
            iterable an array stands with its affine, as a pair.
        affine : (4, 4) array, optional
            Of an array: from voxel indices (i, j, k) to millimetres in RAS, as nibabel and MONAI have it.
        lung_weights : path, optional
            Of lungmask, where the model needs them; by default the file that ``drasclr fetch-weights`` writes.

        Returns
        -------
        ScanFeatures
            Of one scan. Of several an iterator: the features of each or, in the place of a scan that is refused, the
            InputError or QualityError that says why, in order.

        Raises
        ------
        InputError
            If the scan, the model folder or the weights cannot be used.
        QualityError
            If the scan can be read but is not good enough; the message gives the measurement and its limit.
        """
        if affine is not None or is_one_scan(scan) or not isinstance(scan, Iterable):
            return embed_scan(self, scan, affine, lung_weights=lung_weights)
        return embed_scans(self, scan, lung_weights=lung_weights)


def load_model(folder: str | Path, features: Features = "last") -> ScanModel:
    """Return the model of a folder, to embed scans; see `folder.load_model`."""
    model = model_folder.load_model(folder, features)
    return ScanModel(model.encoder, model.grid, model.description, model.folder, model.sums)


def embed_scan(model: Model, scan: Any, affine: Any = None, *, lung_weights: str | Path | None = None) -> ScanFeatures:
    """Return the features of one scan, as the workflow would give them.

    The scan is read, resampled, segmented, registered to the model's atlas, cut and embedded by the same functions and
    settings as those that the model was trained on. What lies between is kept in a temporary folder (`TMPDIR`).

    Parameters
    ----------
    model : Model
        As `folder.load_model` returns it; its encoder on the device where to compute.
    scan, affine
        As of `in_memory.scan_image`.
    lung_weights : path, optional
        As of `ScanReader.of`.

    Returns
    -------
    ScanFeatures

    Raises
    ------
    InputError
        If the scan, the model folder or the weights cannot be used.
    QualityError
        If the scan can be read but is not good enough; the message gives the measurement and its limit.
    """
    reader = _reader(model, lung_weights)
    return _embed(reader, scan_image(scan, affine))


def embed_scans(
    model: Model, scans: Iterable[Any], *, lung_weights: str | Path | None = None
) -> Iterator[ScanFeatures | InputError | QualityError]:
    """Yield the features of each scan in turn; in the place of one that is refused, the error that says why.

    Parameters
    ----------
    model, lung_weights
        As of `embed_scan`.
    scans : iterable
        Of paths, images, pairs of an array and its affine; each is asked for once the one before is done.

    Yields
    ------
    ScanFeatures, or InputError or QualityError
        One per scan, in order. A refusal is logged too.

    Raises
    ------
    InputError
        If the model folder or the weights cannot be used, before the first scan.
    """
    reader = _reader(model, lung_weights)

    def features() -> Iterator[ScanFeatures | InputError | QualityError]:
        for number, scan in enumerate(scans, start=1):
            try:
                yield _embed(reader, scan_image(scan, name=f"image {number} of the iterable"))
            except (InputError, QualityError) as error:
                logger.warning("refused: %s", error)
                yield error

    return features()


def _reader(model: Model, lung_weights: str | Path | None) -> ScanReader:
    reader = ScanReader.of(model, lung_weights)
    for warning in model.scan_warnings:
        logger.warning("%s", warning)
    return reader


def _embed(reader: ScanReader, scan: Scan) -> ScanFeatures:
    with _named(str(scan)):
        return reader.embed(scan, lambda step: logger.info("%s: %s", scan, step))


@contextmanager
def _named(scan: str) -> Iterator[None]:
    """Let a refusal name its scan."""
    try:
        yield
    except (InputError, QualityError) as error:
        if scan not in str(error):
            error.args = (f"{scan}: {error}",)
        raise


def check_lungs(scan: str | Path, progress: Progress) -> dict[str, Metrics]:
    """Return the metrics of reading a scan and of finding its lungs by thresholds at 2 mm; no model is needed.

    A workflow with another spacing or with lungmask may find other lungs, and sets limits to the registration too.

    Raises
    ------
    InputError, QualityError
        If the scan cannot be read, or no lungs are found in it so.
    """
    with tempfile.TemporaryDirectory(prefix="drasclr-") as work:
        return find_lungs(scan, Path(work), progress)


def find_lungs(scan: str | Path, work: Path, progress: Progress) -> dict[str, Metrics]:
    """Do the same in new folders of `work`, ``ingest`` and ``segment``."""
    read, found = work / "ingest", work / "segment"
    for place in (read, found):
        place.mkdir()
    progress("reading and resampling")
    metrics = {"ingest": ingest(scan, read, spacing_mm=CHECK_SPACING_MM, axes="LPS")}
    progress("finding the lungs")
    return {**metrics, "segment": segment(read, scan, found, weights=None)}
