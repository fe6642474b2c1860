"""Embedding export against the released extraction loop, with the same weights, on the same patches.

    python benchmarks/embedding.py [--released ../DrasCLR] [--landmarks 22] [--subjects 40]

`--released` takes a checkout of github.com/batmanlab/DrasCLR. docs/benchmarks.md holds the last table.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from side_by_side import (
    Figure,
    arguments,
    in_turns,
    print_figures,
    print_table,
    random_grid,
    released_module,
    write_bank,
)

from drasclr_core.model.embed_bank import embed_bank, embed_locations
from drasclr_core.model.encoder import Encoder, normalise_hu
from drasclr_core.model.released import released_names

SEED = 0


def trained_looking(encoder):
    """Give the batch norms statistics of their own, so that folding them is more than copying."""
    for norm in encoder.norms:
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 2)
    return encoder.eval()


def released_encoder(folder, encoder):
    """Return the released encoder with the same weights, its last layer removed as extract_feature.py does."""
    released = released_module(folder, "models.cnn3d").Encoder(
        rep_dim=128, moco_dim=128, num_experts=8, num_coordinates=1
    )
    released.fc = torch.nn.Sequential()
    ours = encoder.state_dict()
    released.load_state_dict({theirs: ours[name] for name, theirs in released_names().items() if name[:4] != "head"})
    return released.eval()


def export(bank, encoder):
    """Return the features, (N, L, D), as the embed stage computes them, reading and decompression included."""
    return np.stack(list(embed_bank(bank, encoder)), axis=1)


@torch.no_grad()
def released_export(patches, codes, released):
    """Return the features, (N, L, D), subject after subject, as extract_feature.py does."""
    return np.stack([released(images, codes)[1].numpy() for images in patches])


def subject_export(hu, codes, encoder):
    """Return the features, (N, L, D), subject after subject, as the method `drasclr` embeds a single one."""
    return np.stack([embed_locations(patches, codes, encoder) for patches in hu])


def convolutions(hu, code, encoder):
    """Return a function that runs the plain convolutions of one location on patches (N, 1, 32, 32, 32), 64 at a time.

    Mixing, folding, normalising and reading are done before: this is what the network itself costs.
    """
    encoder_at = encoder.at(code)
    parts = normalise_hu(torch.from_numpy(hu))[:, None].split(64)

    def call():
        with torch.inference_mode():
            for part in parts:
                encoder_at(part)

    return call


def main():
    """Measure and print."""
    args = arguments(__doc__, rounds=3, landmarks=22, subjects=40)
    torch.manual_seed(SEED)
    encoder = trained_looking(Encoder())
    with tempfile.TemporaryDirectory() as folder:
        bank = write_bank(Path(folder), random_grid(args.landmarks), args.subjects)
        hu = np.ascontiguousarray(bank.hu[:].swapaxes(0, 1))
        codes = torch.from_numpy(bank.grid.codes).float()
        features = {}
        exports = {
            "from the bank": lambda: features.update(bank=export(bank, encoder)),
            "by subject": lambda: features.update(subject=subject_export(hu, codes, encoder)),
            "the convolutions alone": convolutions(hu.reshape(-1, 32, 32, 32), codes[0], encoder),
        }
        if args.released:
            released = released_encoder(args.released, encoder)
            images = normalise_hu(torch.from_numpy(hu))[:, :, None]  # not timed: released workers do it
            exports["released loop"] = lambda: features.update(released=released_export(images, codes, released))
        seconds = dict(zip(exports, in_turns(list(exports.values()), args.rounds), strict=True))
    print(f"{args.landmarks} landmarks x {args.subjects} subjects, median of {args.rounds}, {args.threads} threads\n")
    print_exports(seconds, args.landmarks * args.subjects)
    if args.released:
        print_difference(features)
        ratio = seconds["released loop"] / seconds["from the bank"]
        print_figures([Figure("embedding export, released / ours", ratio, 8)])


def print_exports(seconds, patches):
    """Print the table; its last column only where the released loop was timed."""
    released_s = seconds.get("released loop")
    print_table(
        ["export", "ms a patch", *(["times as fast as released"] if released_s else [])],
        [
            [name, f"{1e3 * s / patches:.2f}", *([f"{released_s / s:.1f}"] if released_s else [])]
            for name, s in seconds.items()
        ],
    )


def print_difference(features):
    """Print how far the features are from the released ones."""
    difference = max(np.abs(features[name] - features["released"]).max() for name in ("bank", "subject"))
    largest = np.abs(features["released"]).max()
    print(f"\nLargest difference of a feature from the released one: {difference:.1e} (largest {largest:.2f}).")


if __name__ == "__main__":
    main()
