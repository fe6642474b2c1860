"""Dense inference: what sharing location codes within blocks costs in accuracy and gains in speed.

    python benchmarks/dense.py [--model FOLDER] [--strides 4 8 16] [--blocks 2 4 8 16 32 64] [--windows 1000]

Slides over the phantom that is the embedded configurations' atlas; the error is that against block 1, where every
window has its own code. Without a model folder of such a configuration the encoder is as initialised. Where the lungs
hold more windows than asked for, a slab at mid-height stands for them. Prints a Markdown table; docs/benchmarks.md
holds the last one.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from side_by_side import print_table

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.dense import dense_values, window_voxels
from drasclr_core.model.folder import Model, load_model
from drasclr_core.phantom.simulate import simulate_subject
from drasclr_core.scan.images import resample_isotropic
from drasclr_core.train.loop import initial_encoder

SPACING_MM = 3.0  # the embedded configurations'


def phantom():
    """Return CT and lung mask of the atlas phantom, which needs no registration, at the model's spacing."""
    made = simulate_subject("phantom-001", seed=0, spacing_mm=(2.0, 2.0, 2.5))
    ct = resample_isotropic(made.ct, SPACING_MM)
    return ct, sitk.Resample(made.lungs, ct, sitk.Transform(), sitk.sitkNearestNeighbor)


def model_at(folder, lungs):
    """Return the model of a folder, or the encoder as initialised with the phantom's own lungs as atlas."""
    if folder:
        return load_model(folder)
    return Model(initial_encoder(PretrainSettings()).eval(), LandmarkGrid.build(lungs), {})


def piece(lungs, stride, windows):
    """Return the mask cut down to a slab at mid-height that holds at most `windows` windows."""
    mask = sitk.GetArrayFromImage(lungs)
    middle = int(np.median(np.nonzero(mask)[0]))
    height = mask.shape[0]
    while len(window_voxels(mask, stride)) > windows and height > 1:
        height = height * 3 // 4
        begin = max(middle - height // 2, 0)
        mask[:begin] = 0
        mask[begin + height :] = 0
    cut = sitk.GetImageFromArray(mask)
    cut.CopyInformation(lungs)
    return cut


def measure(model, ct, lungs, stride, block):
    """Return the windows' values and the seconds they took."""
    begin = time.perf_counter()
    values = dense_values(model, ct, lungs, sitk.AffineTransform(3), stride=stride, block=block).values
    return values, time.perf_counter() - begin


def row_of(values, seconds, exact):
    """Return windows a second, relative RMS error and lowest and mean cosine as text."""
    error = np.sqrt(((values - exact) ** 2).mean() / ((exact - exact.mean(axis=0)) ** 2).mean())
    cosine = (values * exact).sum(axis=1) / np.linalg.norm(values, axis=1) / np.linalg.norm(exact, axis=1)
    return [f"{len(values) / seconds:.0f}", f"{100 * error:.2f}", f"{cosine.mean():.5f}", f"{cosine.min():.5f}"]


def main(args):
    """Print the table."""
    torch.set_num_threads(args.threads)
    ct, lungs = phantom()
    model = model_at(args.model, lungs)
    rows = []
    for stride in args.strides:
        part = piece(lungs, stride, args.windows)
        measure(model, ct, part, 2 * stride, 2 * stride)  # warm up
        exact, seconds = measure(model, ct, part, stride, 1)
        rows.append([str(stride), "1", str(len(exact)), *row_of(exact, seconds, exact)])
        for block in args.blocks:
            if block > stride:  # up to the stride a block has one window
                values, seconds = measure(model, ct, part, stride, block)
                rows.append([str(stride), str(block), str(len(exact)), *row_of(values, seconds, exact)])
    name = "trained encoder" if args.model else "encoder as initialised"
    print(f"phantom of {ct.GetSize()} voxels at {SPACING_MM} mm, {name}, {args.threads} threads\n")
    header = ["stride", "block", "windows", "windows a second", "RMS error, % of the features' s.d."]
    print_table([*header, "cosine, mean", "cosine, lowest"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="model folder of an embedded configuration")
    parser.add_argument("--strides", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--blocks", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    main(parser.parse_args())
