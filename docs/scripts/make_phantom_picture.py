"""Draw docs/images/phantom.png: a healthy and a diseased phantom in the lung window, disease outlined.

python docs/scripts/make_phantom_picture.py [docs/images/phantom.png]
"""

import sys
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image, ImageOps

from drasclr_core.base.files import atomic_path
from drasclr_core.phantom.simulate import Phantom, simulate_subject

SEED = 0
SPACING_MM = (1.0, 1.0, 1.0)
HEALTHY, DISEASED = "phantom-017", "phantom-018"
WINDOW_HU = (-1350, 150)
ORANGE, BLUE = "#ffae1a", "#5cc8ff"  # Okabe and Ito's, brighter: told apart by the colour-blind
DISEASES = {
    1: ("centrilobular", ORANGE, "-"),
    2: ("paraseptal", BLUE, "-"),
    3: ("panlobular", ORANGE, "--"),
    4: ("ground glass", BLUE, "--"),
}
AXIAL_LEVEL = 0.33  # in heights of the lungs
SCALE_MM = 100
BITS = 5  # of a colour in the file: noise in more takes twice the room


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
        for (x, side), align in zip(((0.02, "R"), (0.98, "L")), ("left", "right"), strict=True):
            axis.text(x, 0.5, side, transform=axis.transAxes, color="white", ha=align, fontsize=10)
        for value, (_, colour, style) in DISEASES.items() if outlined else ():
            if (label == value).any():
                axis.contour(label == value, [0.5], colors=colour, linestyles=style, linewidths=0.9)
    axes[0].set_title(title, color="white", fontsize=11)


def draw_scale(axis: Axes) -> None:
    """Draw a bar of `SCALE_MM` at the lower left of a slice."""
    left, foot = axis.get_xlim()[0] + 12, axis.get_ylim()[0] - 12
    axis.plot([left, left + SCALE_MM / SPACING_MM[0]], [foot, foot], color="black", linewidth=2.5)
    axis.text(left, foot - 5, f"{SCALE_MM // 10} cm", color="black", fontsize=10)


def main(path: Path) -> None:
    """Draw the picture into `path`."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.8), facecolor="black", height_ratios=[320, 300])
    healthy, diseased = (simulate_subject(name, SEED, SPACING_MM) for name in (HEALTHY, DISEASED))
    draw_subject(axes[:, 0], healthy, "healthy", outlined=False)
    draw_subject(axes[:, 1], diseased, "diseased", outlined=False)
    draw_subject(axes[:, 2], diseased, "the same, true disease outlined", outlined=True)
    draw_scale(axes[1, 0])
    lines = [Line2D([], [], color=colour, linestyle=style, label=name) for name, colour, style in DISEASES.values()]
    figure.legend(handles=lines, loc="lower right", ncols=4, frameon=False, labelcolor="white", fontsize=10)
    window = "coronal and axial, window {:.0f} to {:.0f} HU".format(*WINDOW_HU)
    figure.text(0.008, 0.018, window, color="white", fontsize=10)
    figure.tight_layout(pad=0.5, rect=(0, 0.045, 1, 1))
    drawn = BytesIO()
    figure.savefig(drawn, dpi=100)
    with atomic_path(path) as partial:
        ImageOps.posterize(Image.open(drawn).convert("RGB"), BITS).save(partial, format="PNG", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "images" / "phantom.png")
