"""Fine-tuned detectors: their training fold by fold, their files, their judgement, and how few boxes they need."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import file_sha256, own_sums, read_json, write_json
from drasclr_core.base.version import __version__
from drasclr_core.cohort.boxes import SUBTYPES
from drasclr_core.detect.finetune import Classifier, FinetuneSettings, finetune
from drasclr_core.detect.patches import BoxPatches
from drasclr_core.detect.scoring import Mask, Predict, evaluate_patches, is_positive
from drasclr_core.detect.windows import BoxGrid, model_values
from drasclr_core.model.encoder import FEATURES, Encoder
from drasclr_core.model.files import COPY_AGAIN, DETECTOR
from drasclr_core.model.folder import Model

logger = logging.getLogger(__name__)

Detector = tuple[Model, Classifier]
FINETUNED = "fine-tuned, no readout"  # in a table's footnote


def evaluate_finetuned(
    model: Model,
    patches: BoxPatches,
    settings: FinetuneSettings,
    folder: Path,
    *,
    stride: int,
    block: int,
    **common: Any,
) -> list[dict[str, Any]]:
    """Train the detectors of both subtypes, one per fold, write them to a folder, and judge each on its fold.

    Parameters
    ----------
    model : Model
        Where each training starts; it is left as it is.
    patches : BoxPatches
        All of the cohort.
    settings : FinetuneSettings
        The training without fold K has their seed plus K.
    folder : path
        Gets, per subtype, ``fold-K.safetensors`` and ``detector.json``: their model, which features they read.
    stride, block : int
        Of the windows slid over a box, in voxels.
    **common
        ``run, seed, fold_count``.

    Returns
    -------
    list of dict
        The evaluation of each of `boxes.SUBTYPES`.
    """
    evaluations = []
    for subtype in SUBTYPES:
        chosen = patches.take(patches.detection(subtype))
        labels, place = chosen.subtypes == subtype, folder / subtype
        place.mkdir(parents=True)
        predict = finetuned_detector(model, chosen, labels, settings, (stride, block), place)
        common["readout"] = FINETUNED
        evaluations.append(evaluate_patches(f"{subtype}_detection", "finetuned", chosen, labels, predict, **common))
        held_out = {str(fold): sorted(set(chosen.participants[chosen.folds == fold])) for fold in set(chosen.folds)}
        trained = sorted(int(path.stem.removeprefix("fold-")) for path in place.glob("fold-*.safetensors"))
        content = {"subtype": subtype, "model": model.identity, "settings": vars(settings), "sha256": own_sums(place)}
        told = {"features": model.encoder.features, "held_out": held_out, "trained_folds": trained}
        write_json(place / DETECTOR, {**content, **told, "versions": {"drasclr": __version__}})
    return evaluations


def finetuned_detector(
    model: Model,
    patches: BoxPatches,
    labels: Mask,
    settings: FinetuneSettings,
    sliding: tuple[int, int],
    folder: Path | None = None,
) -> Predict:
    """Return a detector for `scoring.evaluate_patches`: it fine-tunes a copy of the model on every fold's patches.

    Parameters
    ----------
    model, patches, labels, settings
        As for `finetune.finetune`; the training without fold K has the settings' seed plus K.
    sliding : (stride, block)
        Of the windows slid over a box, in voxels.
    folder : path, optional
        Where to keep the weights.
    """
    grid = BoxGrid.cells(patches.box, sliding[0])

    def predict(train: Mask, test: Mask, fold: int) -> tuple[Mask, dict[str, Any]]:
        tuned = Model(copy.deepcopy(model.encoder), model.grid, model.description)
        own = replace(settings, seed=settings.seed + fold)
        classifier = finetune(tuned.encoder, patches.take(train), labels[train], own)
        if folder:
            save_detector(folder / f"fold-{fold}.safetensors", tuned.encoder, classifier)
        if not test.any():
            return np.empty(0, bool), {"penalty": None, "converged": True}
        probability = model_values(tuned, patches.take(test), grid, sliding[1], head=classifier)
        return is_positive(probability[..., 0], grid.weights), {"penalty": None, "converged": True}

    return predict


def save_detector(path: Path, encoder: Encoder, classifier: Classifier) -> None:
    """Write the weights of a detector; the projection head is not part of it."""
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items() if not name.startswith("head.")}
    tensors |= {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    path.write_bytes(save({name: value.cpu().contiguous() for name, value in tensors.items()}))  # as in `save_model`


def load_detectors(folder: Path, fold: int, model: Model) -> dict[str, Detector | str]:
    """Return each subtype's detector of one fold, on the model's device, or the reason why it has none.

    Parameters
    ----------
    folder : path
        With one folder per subtype.
    fold : int
        Whose subjects the detectors have not seen.
    model : Model
        The one that they were trained from; it is left as it is.

    Raises
    ------
    InputError
        As of `trained_folds` and `load_detector`.
    """
    found: dict[str, Detector | str] = {}
    for subtype in SUBTYPES:
        found[subtype] = f"no {subtype} detector without fold {fold}: the patches to train it on were all of one kind"
        if fold in trained_folds(folder / subtype, model):
            found[subtype] = load_detector(folder / subtype, fold, model)
    return found


def trained_folds(folder: Path, model: Model) -> list[int]:
    """Return which folds have a detector of one subtype; of an earlier version their model is not checked.

    Raises
    ------
    InputError
        If the folder is none of detectors, or they were trained from another model.
    """
    content, ours = _read(folder), _flat(model.identity)
    folds, told = content["trained_folds"], content["model"]
    if not (told and ours):
        logger.warning("%s: not checked whether its detectors were trained from this model.", folder)
    for name, value in ours.items() if told else ():
        if told.get(name) != value:
            raise InputError(
                f"{folder}: the detectors were trained from another model than {model.folder}: {name} was "
                f"{told.get(name)}, here it is {value}. Give the detectors of this model, or the model of these."
            )
    return folds


def load_detector(folder: Path, fold: int, model: Model) -> Detector:
    """Return the detector of one of the `trained_folds` of a subtype's folder; it reads the features it was trained on.

    Raises
    ------
    InputError
        If its file is damaged, or not of the model's architecture.
    """
    path, content, encoder = folder / f"fold-{fold}.safetensors", _read(folder), copy.deepcopy(model.encoder)
    encoder.features = content["features"]
    classifier = Classifier(encoder.output_dim)
    head = {f"head.{name}": value for name, value in encoder.head.state_dict().items()}
    try:
        if content["sha256"].get(path.name) not in (None, file_sha256(path)):
            raise ValueError(f"its sha256 is not the one that {DETECTOR} tells")
        tensors = load_file(path)
        encoder.load_state_dict(head | _part(tensors, "encoder."))
        classifier.load_state_dict(_part(tensors, "classifier."))
    except (SafetensorError, RuntimeError, ValueError, FileNotFoundError) as error:
        raise InputError(f"{path} does not hold a detector of this architecture: {error}. {COPY_AGAIN}") from error
    return Model(encoder.eval(), model.grid, model.description), classifier.to(encoder.device).eval()


def evaluate_transfer(
    model: Model,
    patches: BoxPatches,
    settings: FinetuneSettings,
    fractions: Sequence[float],
    *,
    stride: int,
    block: int,
    work: Path,
    **common: Any,
) -> list[dict[str, Any]]:
    """Judge fine-tuning on parts of the training patches, from the trained weights and from scratch.

    A fraction takes that share, rounded up, of the boxes and of the healthy patches of each training set; a larger
    fraction holds the smaller ones. From scratch is the same architecture with new weights, trained alike.

    Parameters
    ----------
    fractions : sequence of float
        Above 0, at most 1.
    model, patches, settings, stride, block
        As for `evaluate_finetuned`.
    work : path
        Folder of unfinished state, of these arguments alone: each point is kept there, and none that is there is made
        again.
    **common
        ``run, seed, fold_count``; the seed is also that of the parts.

    Returns
    -------
    list of dict
        Per subtype: ``subtype, run, seed, fold_count, n, reason, notes``, and ``points``, each with ``start``
        ("pretrained" or "scratch"), ``fraction``, ``folds`` and ``summary`` of f1, precision and recall; ``features``,
        which of the encoder's.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.3.2 (Figure 5).
    """
    starts = {"pretrained": model, "scratch": untrained_like(model, settings.seed)}
    curves = []
    for subtype in SUBTYPES:
        chosen = patches.take(patches.detection(subtype))
        labels, points = chosen.subtypes == subtype, []
        for start, fraction in ((start, fraction) for start in starts for fraction in sorted(fractions)):
            path = work / f"{subtype}-{start}-{fraction:g}.json"
            logger.info("%s, %s, %g of the annotations: %s", subtype, start, fraction, path)
            if not path.exists():
                whole = finetuned_detector(starts[start], chosen, labels, settings, (stride, block))
                part = _on_part(whole, labels, fraction, common["seed"])
                name, readout = f"{subtype}_detection", {"readout": FINETUNED}
                write_json(path, evaluate_patches(name, "finetuned", chosen, labels, part, **common, **readout))
            found = read_json(path)
            points.append({"start": start, "fraction": fraction, "folds": found["folds"], "summary": found["summary"]})
        shared = {key: found[key] for key in ("run", "seed", "fold_count", "n", "reason", "notes")}
        curves.append({"subtype": subtype, "features": model.encoder.features, **shared, "points": points})
    return curves


def untrained_like(model: Model, seed: int) -> Model:
    """Return a model of the same architecture, read alike, with new weights, a function of the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(**model.description["architecture"])
    encoder.features = model.encoder.features
    return Model(encoder.eval().to(model.encoder.device), model.grid, model.description)


def part_of(labels: Mask, train: Mask, fraction: float, seed: int) -> Mask:
    """Return which patches of a training set are its `fraction`: of either kind that share, rounded up."""
    rng = np.random.default_rng(seed)
    kept = np.zeros(len(labels), bool)
    for kind in (labels, ~labels):
        members = np.flatnonzero(kind & train)
        kept[rng.permutation(members)[: int(np.ceil(fraction * len(members) - 1e-9))]] = True
    return kept


def _on_part(predict: Predict, labels: Mask, fraction: float, seed: int) -> Predict:
    def predict_from_part(train: Mask, test: Mask, fold: int) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        kept = part_of(labels, train, fraction, seed + fold)
        prediction, more = predict(kept, test, fold)
        return prediction, {**more, "n_used": int(kept.sum())}

    return predict_from_part


def _read(folder: Path) -> dict[str, Any]:
    """Return a subtype's ``detector.json``, the model's identity flat; of earlier versions ``last`` and no sums."""
    if not (folder / DETECTOR).is_file():
        raise InputError(f"{folder} holds no {DETECTOR}: it is no folder of detectors, or its copy is not whole.")
    try:
        content = {"features": "last", "sha256": {}, **read_json(folder / DETECTOR)}
        if content["features"] not in FEATURES:
            raise ValueError(f"features {content['features']!r}")
        return {**content, "trained_folds": list(content["trained_folds"]), "model": _flat(content.get("model"))}
    except (ValueError, KeyError) as error:
        raise InputError(f"{folder / DETECTOR} is damaged ({error!r}). {COPY_AGAIN}") from error


def _flat(identity: dict[str, Any] | None) -> dict[str, Any]:
    """Return what `Model.identity` tells, each under a name of its own."""
    return {**identity["sha256"], "preprocess": identity["preprocess"]} if identity else {}


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
