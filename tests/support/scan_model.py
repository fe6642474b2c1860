"""A model folder whose atlas is the simple thorax, and scans to try it on."""

import numpy as np
import SimpleITK as sitk
from volumes import saved, thorax

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.base.files import write_json
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.detect.finetune import Classifier
from drasclr_core.detect.finetuned import save_detector
from drasclr_core.model.folder import save_model
from drasclr_core.scan.images import resample_isotropic, write_image
from drasclr_core.scan.lungs import segment_threshold
from drasclr_core.train.loop import initial_encoder

SETTINGS = PretrainSettings(epochs=0, feature_dim=8, num_experts=2)
PROVENANCE = {
    "preprocess": {"axes": "LPS", "spacing_mm": 5.0},
    "segmentation": {"method": "threshold", "weights": None},
    "registration": {"spacing_mm": 8.0, "min_dice": 0.8},
    "patches": {"max_invalid_fraction": 0.2},
}


def write_scan(path, seed=0, scale=1.0, **changes):
    """Write a thorax of that size to a file."""
    ct = thorax((5.0, 5.0, 5.0), seed=seed, **changes).ct
    ct.SetSpacing(np.multiply(ct.GetSpacing(), scale).tolist())
    return saved(ct, path)


def write_scan_model(folder, **provenance):
    """Write a model, untrained, into a new folder."""
    folder.mkdir(parents=True)
    lungs = segment_threshold(resample_isotropic(thorax((5.0, 5.0, 5.0)).ct, 5.0))
    write_image(lungs, folder / "atlas.nii.gz")
    grid = LandmarkGrid.build(lungs, step=10)
    save_model(
        folder, initial_encoder(SETTINGS).eval(), grid, SETTINGS, PROVENANCE | provenance, folder / "atlas.nii.gz"
    )
    return folder


def no_lungs(path):
    """Write a scan that can be read and has no lungs."""
    hu = np.full((40, 40, 40), 40, np.int16)
    hu[:, :8] = -1000
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((6.0, 6.0, 6.0))
    return saved(image, path)


def write_model_and_scans(folder):
    """Write `model`, `good.nii.gz` and `bad.nii.gz`, which is refused, into a folder; return it."""
    write_scan_model(folder / "model")
    write_scan(folder / "good.nii.gz", seed=1)
    no_lungs(folder / "bad.nii.gz")
    return folder


def write_detectors(folder, model, **probabilities):
    """Write detectors that see each subtype everywhere with these probabilities, one per fold."""
    origin = model.identity
    for subtype, folds in probabilities.items():
        (folder / subtype).mkdir(parents=True)
        for fold, probability in enumerate(folds):
            classifier = Classifier(SETTINGS.feature_dim)
            classifier.linear.bias.data.fill_(np.log(probability / (1 - probability)))
            save_detector(folder / subtype / f"fold-{fold}.safetensors", model.encoder, classifier)
        write_json(folder / subtype / "detector.json", {"trained_folds": list(range(len(folds))), "model": origin})
    return folder
