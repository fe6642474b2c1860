"""The format of the checkpoints that the paper's authors published."""

import re
from pathlib import Path

import torch
from torch import Tensor

from drasclr_core.base.errors import InputError
from drasclr_core.model.encoder import Encoder

_PREFIX = re.compile(r"^(module\.)?encoder_q\.")

# Place of each released layer in the encoder's thirteen, and the names of its parts.
_LAYERS = ["conv1", "conv2"]
_LAYERS += [f"downsample{block}.conv{conv}" for block in (1, 2, 3) for conv in (1, 2, 3)]
_LAYERS += ["conv3", "conv4"]
_CONV_PARTS = {
    "weight": "weight",
    "bias": "bias",
    "routing.weight": "_routing_fn.fc.weight",
    "routing.bias": "_routing_fn.fc.bias",
}
_NORM_PARTS = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def released_names() -> dict[str, str]:
    """Return our name -> released name (without prefix) of every entry of the encoder's state dict."""
    names: dict[str, str] = {}
    for place, layer in enumerate(_LAYERS):
        norm = layer.replace("conv", "bn")
        names |= {f"convs.{place}.{ours}": f"{layer}.{theirs}" for ours, theirs in _CONV_PARTS.items()}
        names |= {f"norms.{place}.{part}": f"{norm}.{part}" for part in _NORM_PARTS}
    for place in (0, 2):
        names |= {f"head.{place}.{part}": f"fc.{place}.{part}" for part in ("weight", "bias")}
    return names


def load_released_encoder(path: str | Path) -> Encoder:
    """Return the query encoder of a published checkpoint, in evaluation mode.

    Parameters
    ----------
    path : path
        ``torch.save({"state_dict": ...})``; names may start with ``module.`` and must go on with ``encoder_q.``.
        Only tensors are read: a file that would run code is refused.

    Returns
    -------
    Encoder
        Expects the released location codes (`convention: released`).

    Raises
    ------
    InputError
        If the file cannot be read, lacks an entry, or has one too many or of another shape.
    """
    state = _query_entries(Path(path))
    names = released_names()
    missing = sorted(set(names.values()) - set(state))
    unexpected = sorted(set(state) - set(names.values()))
    if missing or unexpected:
        raise InputError(
            f"{path} does not hold the released encoder: missing {missing or 'nothing'}, "
            f"unexpected {unexpected or 'nothing'}. Use a checkpoint as written by the released train.py."
        )
    encoder = Encoder(feature_dim=len(state["conv4.bias"]), num_experts=len(state["conv1.weight"]))
    try:
        encoder.load_state_dict({ours: state[theirs] for ours, theirs in names.items()})
    except RuntimeError as error:
        raise InputError(f"{path} does not fit the released encoder: {error}") from error
    return encoder.eval()


def _query_entries(path: Path) -> dict[str, Tensor]:
    """Return the query encoder's entries by their names without prefix."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch makes of a foreign file, the file is at fault
        raise InputError(f"{path} cannot be read as a checkpoint of tensors alone: {error}") from error
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path} has no 'state_dict': use a checkpoint as written by the released train.py.")
    return {_PREFIX.sub("", name): value for name, value in state.items() if _PREFIX.match(name)}
