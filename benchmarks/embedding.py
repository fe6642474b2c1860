"""Embedding export against the released extraction loop, with the same weights, on the same patches.

    python benchmarks/embedding.py --released DIR [--landmarks 40] [--subjects 16] [--repeats 3] [--threads 2]

DIR is a checkout of https://github.com/batmanlab/DrasCLR; without it only this project's figures are printed. Prints
a Markdown table; docs/benchmarks.md holds the last one.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import zarr

from drasclr_core.bank import Bank
from drasclr_core.embedding import embed_bank, embed_locations
from drasclr_core.encoder import Encoder, normalise_hu
from drasclr_core.landmarks import LandmarkGrid
from drasclr_core.patches import ct_compressor
from drasclr_core.released import released_names

SEED = 0
CPU = torch.device("cpu")


def trained_looking(encoder):
    """Give the batch norms statistics of their own, so that folding them is more than copying."""
    for norm in encoder.norms:
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 2)
    return encoder.eval()


def released_encoder(folder, encoder):
    """Return the released encoder with the same weights, its last layer removed as extract_feature.py does."""
    sys.path.insert(0, str(folder))
    from models.cnn3d import Encoder as Released

    released = Released(rep_dim=128, moco_dim=128, num_experts=8, num_coordinates=1)
    released.fc = torch.nn.Sequential()
    ours = encoder.state_dict()
    released.load_state_dict({theirs: ours[name] for name, theirs in released_names().items() if name[:4] != "head"})
    return released.eval()


def write_bank(folder, landmarks, subjects):
    """Return an opened bank of smooth random patches at random landmarks."""
    rng = np.random.default_rng(SEED)
    coarse = rng.integers(-1000, 100, (landmarks, subjects, 8, 8, 8), dtype=np.int16)
    hu = coarse.repeat(4, 2).repeat(4, 3).repeat(4, 4) + rng.integers(-40, 40, (landmarks, subjects, 32, 32, 32))
    points_mm = rng.uniform(-150, 150, (landmarks, 3))
    low_mm, high_mm = points_mm.min(axis=0), points_mm.max(axis=0)
    grid = LandmarkGrid(
        points_mm=points_mm,
        codes=2 * (points_mm - low_mm) / (high_mm - low_mm) - 1,
        neighbours=np.zeros((landmarks, 2), np.int64),
        patch_size=32,
        convention="centre",
        spacing_mm=1.0,
        direction=(1, 1, 1),
        code_low_mm=low_mm,
        code_high_mm=high_mm,
    )
    chunk = (1, subjects, 32, 32, 32)
    store = zarr.create_array(folder / "hu", data=hu.astype(np.int16), chunks=chunk, compressors=ct_compressor())
    return Bank(store, np.ones((landmarks, subjects), bool), [f"s{i}" for i in range(subjects)], grid)


def export(bank, encoder):
    """Return the features, (N, L, D), as the embed stage computes them, reading and decompression included."""
    return np.stack(list(embed_bank(bank, encoder, CPU)), axis=1)


@torch.no_grad()
def released_export(patches, codes, released):
    """Return the features, (N, L, D), subject after subject, as extract_feature.py does."""
    return np.stack([released(images, codes)[1].numpy() for images in patches])


def subject_export(hu, codes, encoder):
    """Return the features, (N, L, D), subject after subject, as the method `drasclr` embeds a single one."""
    return np.stack([embed_locations(patches, codes, encoder) for patches in hu])


def timed(exports, repeats):
    """Run the exports in turn, `repeats` times over; return their best seconds and their features."""
    seconds = {name: [] for name in exports}
    features = {}
    for _ in range(repeats):
        for name, call in exports.items():
            start = time.perf_counter()
            features[name] = call()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}, features


def main(args):
    """Print the table."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    encoder = trained_looking(Encoder())
    with tempfile.TemporaryDirectory() as folder:
        bank = write_bank(Path(folder), args.landmarks, args.subjects)
        hu = np.ascontiguousarray(bank.hu[:].swapaxes(0, 1))
        codes = torch.from_numpy(bank.grid.codes).float()
        exports = {
            "from the bank": lambda: export(bank, encoder),
            "by subject": lambda: subject_export(hu, codes, encoder),
        }
        if args.released:
            released = released_encoder(args.released, encoder)
            # Outside the time: the released loop normalises in worker processes.
            images = normalise_hu(torch.from_numpy(hu))[:, :, None]
            exports["released loop"] = lambda: released_export(images, codes, released)
        seconds, features = timed(exports, args.repeats)
    count = args.landmarks * args.subjects
    print(f"{args.landmarks} landmarks x {args.subjects} subjects, best of {args.repeats}; {machine(args.threads)}\n")
    print("| export | ms a patch | times as fast as released | largest difference of a feature |\n|---|---|---|---|")
    for name in exports:
        ratio, difference = "", ""
        if args.released:
            ratio = f"{seconds['released loop'] / seconds[name]:.1f}"
            difference = f"{np.abs(features[name] - features['released loop']).max():.1e}"
        print(f"| {name} | {1e3 * seconds[name] / count:.2f} | {ratio} | {difference} |")
    if args.released:
        print(f"\nLargest feature: {np.abs(features['released loop']).max():.2f}.")
    else:
        print("\nNo checkout of the released code was given (--released DIR): nothing to compare with.")


def machine(threads):
    """Say on what machine this ran."""
    cpu = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {threads} threads, PyTorch {torch.__version__}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--released", type=Path, help="checkout of batmanlab/DrasCLR")
    parser.add_argument("--landmarks", type=int, default=40)
    parser.add_argument("--subjects", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    main(parser.parse_args())
