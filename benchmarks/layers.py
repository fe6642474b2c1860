"""Loc-CondConv beside a plain convolution and beside the released layer: forward and backward, layer by layer.

    python benchmarks/layers.py [--released ../DrasCLR]    # a checkout of github.com/batmanlab/DrasCLR

One location for the whole batch, as in training, against `torch.nn.Conv3d`; and a location for every patch against the
released layer, which loops over the patches.
"""

from collections.abc import Callable
from types import ModuleType

import torch
from side_by_side import Figure, arguments, in_turns, print_figures, print_table, released_module
from torch import Tensor, nn

from drasclr_core.model.encoder import LAYERS, PATCH_SIZE
from drasclr_core.model.layers import LocCondConv3d

BATCH = 16
Step = Callable[[], object]


def main() -> None:
    """Measure and print."""
    chosen = arguments(__doc__)
    released = released_module(chosen.released, "models.condconv3d") if chosen.released else None
    print(f"forward + backward, batch {BATCH}, ms ({chosen.threads} threads, medians of {chosen.rounds} in turns)\n")
    rows, totals, size = [], [0.0] * (6 if released else 5), PATCH_SIZE
    for channels_in, channels_out, stride in LAYERS:
        ms = [1000 * s for s in in_turns(steps(channels_in, channels_out, stride, size, released), chosen.rounds)]
        totals = [total + value for total, value in zip(totals, ms, strict=True)]
        rows.append([f"{channels_in}-{channels_out}, {size}^3" + (", /2" if stride == 2 else ""), *columns(ms)])
        size //= stride
    rows.append(["sum", *columns(totals)])
    print_table(
        ["layer", "plain", "one location", "ratio"]
        + ["plain, channels last", "one location", "ratio"]
        + ["a location each"]
        + (["released", "times faster"] if released else []),
        rows,
    )
    print_figures(figures(totals))


def columns(ms: list[float]) -> list[str]:
    """Return the cells of a row; the last two are about the released layer."""
    plain, ours, plain_last, ours_last, grouped, *loop = ms
    return [
        *(f"{plain:.1f}", f"{ours:.1f}", f"{ours / plain:.2f}"),
        *(f"{plain_last:.1f}", f"{ours_last:.1f}", f"{ours_last / plain_last:.2f}"),
        f"{grouped:.1f}",
        *(cell for released in loop for cell in (f"{released:.1f}", f"{released / grouped:.1f}")),
    ]


def figures(ms: list[float]) -> list[Figure]:
    """Return the ratios of the sums over all layers."""
    plain, ours, plain_last, ours_last, grouped, *loop = ms
    name = "layers, one location / plain convolution"
    return [
        Figure(name, ours / plain, 1.15, lower_is_better=True),
        Figure(f"{name}, channels last", ours_last / plain_last, 1.15, lower_is_better=True),
        *(Figure("layers, released / ours, a location each", released / grouped, 3) for released in loop),
    ]


def steps(channels_in: int, channels_out: int, stride: int, size: int, released: ModuleType | None) -> list[Step]:
    """Return the computations that are compared, the released one last."""
    plain = nn.Conv3d(channels_in, channels_out, 3, stride, 1)
    ours = LocCondConv3d(channels_in, channels_out, 3, stride, 1)
    x = torch.randn(BATCH, channels_in, size, size, size)
    last = x.to(memory_format=torch.channels_last_3d)
    place, places = torch.rand(3), torch.rand(BATCH, 3)
    own = [step(plain, x), step(ours, x, place), step(plain, last), step(ours, last, place), step(ours, x, places)]
    if released is None:
        return own
    theirs = released.CondConv3D(channels_in, channels_out, 3, 8, 1, stride=stride, padding=1)
    with torch.no_grad():  # the released initialisation leaves it near zero, where arithmetic can be slow
        theirs.weight.copy_(ours.weight)
    return [*own, step(theirs, x, places)]


def step(layer: nn.Module, x: Tensor, *location: Tensor) -> Step:
    """Return forward and backward through a layer; the first layer's input needs no gradient."""
    x = x.detach().requires_grad_(x.shape[1] > 1)

    def run() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x, *location).sum().backward()

    return run


if __name__ == "__main__":
    main()
