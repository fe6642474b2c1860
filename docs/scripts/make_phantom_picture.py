"""Draw docs/images/phantom.png: a healthy and a diseased phantom in the lung window, disease outlined.

python docs/scripts/make_phantom_picture.py [docs/images/phantom.png]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk

from drasclr_core.io import atomic_path
from drasclr_core.phantom import Phantom, simulate_subject

SEED = 0
SPACING_MM = (1.0, 1.0, 1.0)
HEALTHY, DISEASED = "phantom-017", "phantom-018"
WINDOW_HU = (-1350, 150)
DISEASES = {1: ("centrilobular", "#ff5a4e"), 2: ("paraseptal", "#ffd23f"), 3: ("panlobular", "#4ea8ff")}
DISEASES[4] = ("ground glass", "#5ddc7a")
AXIAL_LEVEL = 0.33  # in heights of the lungs


def slices_of(volume: np.ndarray, lungs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a coronal slice, behind the middle of the lungs, and an axial one; top of the body and chest up."""
    rows = np.flatnonzero((lungs > 0).any(axis=(0, 2)))
    heights = np.flatnonzero((lungs > 0).any(axis=(1, 2)))
    coronal = int(0.4 * rows[0] + 0.6 * rows[-1])
    return volume[::-1, coronal], volume[heights[0] + int(AXIAL_LEVEL * (heights[-1] - heights[0]))]


def draw_subject(axes: np.ndarray, phantom: Phantom, title: str, outlined: bool) -> None:
    """Draw the slices of one phantom, each in one of `axes`."""
    ct, truth, lungs = (sitk.GetArrayFromImage(i) for i in (phantom.ct, phantom.truth, phantom.lungs))
    for axis, ct_hu, label in zip(axes, slices_of(ct, lungs), slices_of(truth, lungs), strict=True):
        axis.imshow(ct_hu, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], interpolation="bilinear")
        axis.axis("off")
        for value, (_, colour) in DISEASES.items() if outlined else ():
            if (label == value).any():
                axis.contour(label == value, [0.5], colors=colour, linewidths=0.7)
    axes[0].set_title(title, color="white", fontsize=10)


def main(path: Path) -> None:
    """Draw the picture into `path`."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.6), facecolor="black", height_ratios=[320, 300])
    healthy, diseased = (simulate_subject(name, SEED, SPACING_MM) for name in (HEALTHY, DISEASED))
    draw_subject(axes[:, 0], healthy, "healthy", outlined=False)
    draw_subject(axes[:, 1], diseased, "diseased", outlined=False)
    draw_subject(axes[:, 2], diseased, "the same, true disease outlined", outlined=True)
    for place, (name, colour) in zip((0.67, 0.765, 0.84, 0.92), DISEASES.values(), strict=True):
        figure.text(place, 0.012, name, color=colour, fontsize=9)
    figure.tight_layout(pad=0.5, rect=(0, 0.03, 1, 1))
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "images" / "phantom.png")
