"""The settings of one pretraining, and how its encoder is read."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Features = Literal["last", "pooled", "middle"]
"""Which features of an encoder are read, as of `encoder.Encoder`; no setting of its training."""

EXTRA_DIM: dict[Features, int] = {"last": 0, "pooled": 944, "middle": 304}
"""Length of what features have beside those of the last layer."""

TRUE_DISEASE = "true_"
"""What a `probe_task` begins with that is the true disease of a phantom's patches."""


@dataclass(frozen=True)
class PretrainSettings:
    """What decides a pretraining; the defaults are the paper's (section 3).

    Attributes
    ----------
    seed : int
        Of every random stream.
    epochs : int
        Passes over all landmarks and subjects; 0 leaves the encoder as initialised.
    batch_size : int
        Subjects per batch (B), all at one landmark.
    groups : int
        Blocks of subjects with batch-norm statistics of their own (the paper's GPUs); divides `batch_size`.
    neighbours : int
        Neighbouring patches per subject (k).
    beta : float
        Weight of the neighbouring loss.
    negatives : "queue", "batch" or "fresh"
        The other keys that a query is told from: those of the queue (the paper's); the others of the batch, without a
        queue; those of the batch, and of the queue those made at this visit of the landmark.
    queue_size : int
        Keys per queue (K).
    queues : "landmark" or "global"
        One queue per landmark, or one for all.
    mask_same_subject : bool
        Hide the query's own person among the negatives.
    view_shift_mm, view_rotation_deg, view_scale, view_noise_hu : float
        Largest shift, turn and relative change of size along or about each axis, and largest standard deviation of the
        noise, of a random view.
    view_noise_probability, view_gamma_probability : float
        How often a view has noise, and another contrast.
    view_gamma : (float, float)
        Range of the contrast's exponent.
    temperature, learning_rate, momentum, weight_decay : float
        As in the paper.
    key_momentum : float or None
        Of the key encoder; None for none: the encoder makes queries and keys alike, and either view is both.
    warmup_steps : int
        Over which the learning rate rises from 0, before its half cosine.
    visit_batches : int or None
        Batches in a row of one landmark; None for all of an epoch.
    feature_dim, num_experts, conditioning, head_norm
        As of `encoder.Encoder`.
    precision : "float32", "bfloat16" or "float64"
        bfloat16 means autocast.
    channels_last : bool
        Keep activations with the channels innermost; changes results in the last bits only.
    queue_precision : "float32" or "float16"
        How the queues' keys are kept; with `precision` float64 float32 means float64.
    cpu_threads : int
        Threads per process; results on a CPU depend on it in the last bits.
    device : "auto", "cpu" or "cuda"
        "auto" takes a GPU where there is one.
    checkpoint_minutes : float
        Time between checkpoints.
    checkpoints_kept : int
        Newest checkpoints that stay.
    time_limit_minutes : float or None
        How long the process may run; None for ever.
    margin_minutes : float
        How long before its time limit a training stops, with a checkpoint.
    log_steps : int
        Steps per row of the metrics.
    row_memory_gb : float
        Memory of each process for bank rows, those held ahead included, in 10^9 bytes.
    probe_steps : int
        Steps between online linear probes; 0 for none.
    probe_task : str
        What the probe predicts: one of `tasks.TASKS`; or, of phantoms, `TRUE_DISEASE` and one of `truth.TARGETS`.
    probe_landmarks : int
        Landmarks whose mean feature the probe reads, evenly spaced in the grid's order.
    """

    seed: int = 0
    epochs: int = 20
    batch_size: int = 128
    groups: int = 4
    neighbours: int = 2
    beta: float = 1.0
    negatives: Literal["queue", "batch", "fresh"] = "queue"
    queue_size: int = 4096
    queues: Literal["landmark", "global"] = "landmark"
    mask_same_subject: bool = True
    view_shift_mm: float = 12.0
    view_rotation_deg: float = 10.0
    view_scale: float = 0.1
    view_noise_hu: float = 50.0
    view_noise_probability: float = 0.25
    view_gamma: tuple[float, float] = (0.5, 4.5)
    view_gamma_probability: float = 0.25
    temperature: float = 0.2
    key_momentum: float | None = 0.999
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int = 0
    visit_batches: int | None = None
    head_norm: bool = False
    feature_dim: int = 128
    num_experts: int = 8
    conditioning: Literal["location", "none", "concatenation", "hypernetwork"] = "location"
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    channels_last: bool = True
    queue_precision: Literal["float32", "float16"] = "float32"
    cpu_threads: int = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_minutes: float = 10.0
    checkpoints_kept: int = 2
    time_limit_minutes: float | None = None
    margin_minutes: float = 5.0
    log_steps: int = 10
    row_memory_gb: float = 4.0
    probe_steps: int = 0
    probe_task: str = "log_fev1pp"
    probe_landmarks: int = 8

    def decisive(self) -> dict[str, Any]:
        """Return the settings that change the trained weights."""
        return {name: value for name, value in asdict(self).items() if name not in UPKEEP}


UPKEEP = (
    "checkpoint_minutes",
    "checkpoints_kept",
    "time_limit_minutes",
    "margin_minutes",
    "log_steps",
    "row_memory_gb",
    "probe_steps",
    "probe_task",
    "probe_landmarks",
)
"""Settings that change no weight."""
