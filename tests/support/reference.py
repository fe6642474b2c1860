"""The published reference: weights and inputs that anyone can regenerate, and what the released model made of them.

tests/fixtures/README.md says where each number comes from. Where the published files themselves lie
(DRASCLR_REFERENCE), test_reference.py compares the two.
"""

import hashlib
import itertools
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.atlas.landmarks import grid_landmarks

FIXTURES = Path(__file__).parents[1] / "fixtures"
PAPER = FIXTURES / "paper"
FOLDER = Path(os.environ.get("DRASCLR_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
PATCH, STEP = 32, 26


def reference_file(name):
    """Return the path of a published file, or skip the test."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no reference data at {path} (DRASCLR_REFERENCE)")
    return path


def released_model():
    """Return (settings, state dict of arrays, inputs of arrays, expected arrays)."""
    settings = json.loads((FIXTURES / "released_model.json").read_text(encoding="utf-8"))
    expected = {name: np.array(values) for name, values in settings.pop("expected").items()}
    return settings, _weights(settings), _inputs(settings), expected


@cache
def published_grid():
    """Return (mask, corners): a lung mask with the published one's lung in every patch of its grid, and its landmarks.

    The mask is no likeness: of each cell between the patches' faces so many voxels are lung, the first ones. What is
    counted in whole patches is the same. The corners are those of the 581 published landmarks, which a checksum shows.
    """
    facts = json.loads((FIXTURES / "atlas_grid.json").read_text(encoding="utf-8"))
    lungs = np.zeros(facts["size_zyx"], np.uint8)
    faces = [cell_faces(size) for size in lungs.shape]
    with np.load(FIXTURES / "atlas_grid.npz", allow_pickle=False) as counts:
        for place, count in np.ndenumerate(counts["lung_voxels"]):
            box = tuple(slice(*edges[index : index + 2]) for edges, index in zip(faces, place, strict=True))
            cell = lungs[box]
            cell.flat[:count] = 1
    lungs[..., : lungs.shape[2] // 2] *= 50
    lungs[..., lungs.shape[2] // 2 :] *= 100
    mask = sitk.GetImageFromArray(lungs)
    mask.SetOrigin(facts["origin_mm"])
    mask.SetDirection(facts["direction"])
    corners = np.array(sorted([*grid_landmarks(lungs).tolist(), *facts["below_a_tenth"]]), np.int64)
    assert len(corners) == facts["landmarks"]
    assert hashlib.sha256(corners.astype("<i8").tobytes()).hexdigest() == facts["landmarks_sha256"]
    return mask, corners


def cell_faces(size):
    """Return where patches of the grid begin and end along an axis, and the axis itself."""
    starts = range(0, size - PATCH, STEP)
    return sorted({0, size, *itertools.chain.from_iterable((start, start + PATCH) for start in starts)})


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
