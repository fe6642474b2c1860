"""The published reference: weights and inputs that anyone can regenerate, and what the released model made of them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(os.environ.get("DRASCLR_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


def reference_file(name):
    """Return the path of a reference file, or skip the test."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no reference data at {path} (DRASCLR_REFERENCE)")
    return path


def released_model():
    """Return (settings, state dict of arrays, inputs of arrays, expected arrays)."""
    settings = json.loads(reference_file("released_model.json").read_text())
    with np.load(reference_file("released_model.npz"), allow_pickle=False) as expected:
        return settings, _weights(settings), _inputs(settings), dict(expected)


RULES = [  # (applies to, value from the draw), the first that applies counts
    (lambda n, s: n.endswith("running_var"), lambda a, s: 0.5 + np.abs(a)),
    (lambda n, s: n.endswith("running_mean"), lambda a, s: 0.1 * a),
    (lambda n, s: ".bn" in n and n.endswith("weight"), lambda a, s: 1 + 0.1 * a),
    (lambda n, s: n.endswith("bias"), lambda a, s: 0.05 * a),
    (lambda n, s: "_routing_fn" in n, lambda a, s: a),
    (lambda n, s: n == "queue", lambda a, s: a / np.linalg.norm(a, axis=0)),
    (lambda n, s: len(s) == 6, lambda a, s: a * np.sqrt(2 / (s[2] * 27)) / np.sqrt(s[0])),
    (lambda n, s: True, lambda a, s: a * np.sqrt(2 / s[1])),
]


def _weights(settings):
    state = {}
    for i, (name, shape) in enumerate(settings["state_dict"]):
        if name == "queue_ptr" or name.endswith("num_batches_tracked"):
            state[name] = np.zeros(shape, np.int64)
        elif name.startswith("encoder_k."):
            state[name] = state[name.replace("encoder_k.", "encoder_q.")]
        else:
            a = np.random.Generator(np.random.PCG64([settings["seed"], i])).standard_normal(shape)
            value = next(value for applies, value in RULES if applies(name, shape))
            state[name] = value(a, shape).astype(np.float32)
    return state


def _inputs(settings):
    rng = np.random.Generator(np.random.PCG64([settings["seed"], 1000000]))
    batch, neighbours = settings["batch"], settings["neighbours"]
    shapes = {
        "query": (batch, 1, 32, 32, 32),
        "key": (batch, 1, 32, 32, 32),
        "neighbours": (batch, neighbours, 32, 32, 32),
        "locations": (1 + neighbours, 3),
        "mixed": (batch, 3),
    }
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
