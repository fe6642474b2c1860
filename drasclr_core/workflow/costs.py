"""How much memory the large jobs take, by the figures of ``costs.yaml``: for a plan, and for a cluster to know."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drasclr_core.base.documents import read_yaml
from drasclr_core.config.checks import Config

COSTS = Path(__file__).with_name("costs.yaml")
PUBLISHED_STEP_MM = 26.0
MIN_ROWS = 3  # a training step reads the rows of a landmark and of its neighbours
GB = 1e9

Costs = Mapping[str, float]


def read_costs(path: Path = COSTS) -> dict[str, float]:
    """Return name -> value of a file of figures."""
    return {name: float(entry["value"]) for name, entry in read_yaml(path).items()}


def grid_size(config: Config, published: float) -> int:
    """Return how many landmarks an atlas has, going by the volume of a step."""
    step_mm = config["landmarks"]["step"] * config["preprocess"]["spacing_mm"]
    return max(1, round(published * (PUBLISHED_STEP_MM / step_mm) ** 3))


def training_memory_gb(settings: Mapping[str, Any], subjects: int, landmarks: int, costs: Costs) -> float:
    """Return what the processes of a training hold on one node, in 10^9 bytes of its own memory.

    On the CPU that is queues, rows of the bank, and the rest. On GPUs queues and rows are in theirs; on the node are a
    row on its way and, for a moment, the checkpoint that a training goes on from.

    Parameters
    ----------
    settings : mapping
        As of `checks.pretrain_settings`. With `device` "auto" the larger of both.
    subjects, landmarks : int
    costs : mapping
        As of `read_costs`.
    """
    processes = settings["processes"]
    queues = landmarks if settings["queues"] == "landmark" else 1
    size = 0 if settings["negatives"] == "batch" else settings["queue_size"]
    key_bytes = 2 if settings["queue_precision"] == "float16" else 4
    queues_gb = queues * size * settings["feature_dim"] * key_bytes / GB
    row_gb = subjects / processes * costs["patch_bytes"] / GB
    rows = min(landmarks, max(MIN_ROWS, math.floor(settings["row_memory_gb"] / row_gb)))
    process_gb = {
        "cpu": queues_gb + rows * row_gb + costs["training_memory_gb"],
        "cuda": queues_gb + row_gb + costs["gpu_host_memory_gb"],
    }
    most_gb = process_gb.get(settings["device"], max(process_gb.values()))
    return float(most_gb * processes / settings["nodes"])


def embedding_memory_gb(subjects: int, landmarks: int, dim: int, costs: Costs) -> float:
    """Return what the export of a bank's features holds, in 10^9 bytes: all of them, of length `dim`, and two rows."""
    features_gb = subjects * landmarks * dim * 4 / GB
    return features_gb + 2 * subjects * costs["patch_bytes"] / GB + costs["training_memory_gb"]
