"""The linear detectors of a run, and how much its encoder needs the right location (paper sections 4.3.1 and 4.4.2)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.cohort.boxes import SUBTYPES
from drasclr_core.detect.patches import BoxPatches
from drasclr_core.detect.scoring import evaluate_patches, linear_detector
from drasclr_core.detect.windows import BoxGrid, model_values
from drasclr_core.model.dense import window_codes
from drasclr_core.model.folder import Model


def evaluate_linear(
    values: Callable[[BoxPatches, BoxGrid], npt.NDArray[np.float32]],
    patches: BoxPatches,
    *,
    stride: int,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Yield the evaluation of each subtype's linear detector on frozen features.

    Parameters
    ----------
    values : callable
        Of (M patches, K windows of each): the features of the windows, (M, K, C); `windows.model_values` with its
        model, or `plain_values` with its method.
    patches : BoxPatches
        All of the cohort.
    stride : int
        Of the windows slid over a box, in voxels.
    **settings
        ``run, readout, seed, fold_count``.
    """
    for subtype in SUBTYPES:
        chosen = patches.take(patches.detection(subtype))
        labels, grid = chosen.subtypes == subtype, BoxGrid.cells(patches.box, stride)
        features, windows = (
            (values(chosen, each) if len(chosen) else np.empty((0, 1, 1))) for each in (BoxGrid.centre(patches), grid)
        )
        fit = {"readout": settings["readout"], "seed": settings["seed"]}
        predict = linear_detector(chosen, labels, features[:, 0], windows, grid.weights, **fit)
        yield evaluate_patches(f"{subtype}_detection", "linear", chosen, labels, predict, **settings)


def evaluate_location(
    model: Model, patches: BoxPatches, atlas_lungs: sitk.Image, **settings: Any
) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of linear classifiers on features with the patches' own locations, and with random ones.

    Parameters
    ----------
    model : Model
    patches : BoxPatches
        All of the cohort.
    atlas_lungs : SimpleITK image
        Lung mask of the atlas, in which the random locations lie.
    **settings
        ``run, readout, seed, fold_count``; the seed also draws the locations.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.4.2 (Table 7).
    """
    rng = np.random.default_rng(settings["seed"])
    elsewhere = random_codes(model.grid, atlas_lungs, len(patches), rng)
    centre = BoxGrid.centre(patches)
    for variant, codes in (("patch_location", None), ("random_location", elsewhere)):
        empty = np.empty((0, 1, 1), np.float32)
        features = model_values(model, patches, centre, codes=codes) if len(patches) else empty
        for subtype in SUBTYPES:
            index = patches.detection(subtype)
            chosen, own = patches.take(index), features[index]
            labels, fit = chosen.subtypes == subtype, {"readout": settings["readout"], "seed": settings["seed"]}
            # One window that is to be positive: the decision is the classifier's own.
            predict = linear_detector(chosen, labels, own[:, 0], own, np.ones(1), **fit)
            yield evaluate_patches(f"{subtype}_location", variant, chosen, labels, predict, **settings)


def random_codes(
    grid: LandmarkGrid, atlas_lungs: sitk.Image, count: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the location codes, (count, 3), of windows at voxels drawn from the atlas's lungs, all equally likely."""
    voxels = np.argwhere(sitk.GetArrayViewFromImage(atlas_lungs) > 0)
    return window_codes(rng.choice(voxels, count), atlas_lungs, sitk.AffineTransform(3), grid)
