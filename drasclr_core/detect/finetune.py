"""Train a detector: an encoder and a linear classifier on its features, all layers together."""

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drasclr_core.detect.patches import BoxPatches
from drasclr_core.model.encoder import PATCH_SIZE, Encoder, normalise_hu
from drasclr_core.train.loop import cosine_rate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneSettings:
    """What decides a fine-tuning.

    Attributes
    ----------
    steps : int
        Of the optimiser; the same for any number of patches.
    batch_size : int
        Patches per step, half of them positive.
    learning_rate, momentum, weight_decay : float
        Of SGD; the rate falls as half a cosine.
    shift_vox : int
        Largest random shift of a patch along each axis, in voxels; never out of the box.
    seed : int
        Of the order, the shifts and the mirroring.
    """

    steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    shift_vox: int
    seed: int


class Classifier(nn.Module):
    """The linear classifier on a feature vector, of length `dim`, which starts at 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the probability of disease, (B, 1), of features (B, D)."""
        return torch.sigmoid(self.linear(features))


def finetune(
    encoder: Encoder, patches: BoxPatches, labels: npt.NDArray[np.bool_], settings: FinetuneSettings
) -> Classifier:
    """Train an encoder, in place, and a new classifier to tell diseased from healthy patches.

    Each patch is read with its own location code. A step takes as many diseased as healthy patches, shifted within
    their boxes and mirrored at random, the code following the shift. The loss is binary cross-entropy.

    Parameters
    ----------
    encoder : Encoder
        On the device where to compute; in evaluation mode afterwards. The classifier takes the features that it is set
        to return.
    patches : BoxPatches
        To learn from.
    labels : (M,) bool array
        Which are diseased; both kinds must occur.
    settings : FinetuneSettings

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.3.1.
    """
    device = encoder.device
    classifier = Classifier(encoder.output_dim).to(device)
    parameters = [p for name, p in encoder.named_parameters() if not name.startswith("head.")]
    optimiser = torch.optim.SGD(
        [*parameters, *classifier.parameters()],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    rng = np.random.default_rng(settings.seed)
    draw = _Draw(patches, labels, settings, rng)
    encoder.train()
    for step in range(settings.steps):
        hu, codes, truth = draw()
        x = normalise_hu(torch.from_numpy(hu).to(device))[:, None]
        location = torch.from_numpy(codes).to(device, torch.float32)
        logits = classifier.linear(encoder.convolve(x, encoder.kernels(location)))[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(truth).to(device, torch.float32))
        optimiser.param_groups[0]["lr"] = cosine_rate(settings.learning_rate, step, settings.steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 20 == 0:
            logger.info("step %d of %d: loss %.3f", step + 1, settings.steps, loss.item())
    encoder.eval()
    return classifier


class _Draw:
    """Draws batches: each kind of patch in rounds of a new random order."""

    def __init__(
        self, patches: BoxPatches, labels: npt.NDArray[np.bool_], settings: FinetuneSettings, rng: np.random.Generator
    ) -> None:
        self.patches, self.labels, self.rng = patches, labels, rng
        self.shift = min(settings.shift_vox, patches.centre)
        sick = settings.batch_size // 2
        self.kinds = [(np.flatnonzero(labels), sick), (np.flatnonzero(~labels), settings.batch_size - sick)]
        self.queues: list[list[int]] = [[], []]

    def __call__(self) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the patches (B, 32, 32, 32), their codes (B, 3) and labels (B,)."""
        chosen = np.concatenate([self._next(kind) for kind in (0, 1)])
        shifts = self.rng.integers(-self.shift, self.shift + 1, (len(chosen), 3))
        flips = self.rng.random((len(chosen), 3)) < 0.5
        hu = np.stack([self._view(*view) for view in zip(chosen, shifts, flips, strict=True)])
        steps = np.einsum("bi,bij->bj", shifts, self.patches.code_steps[chosen])
        return hu, self.patches.codes[chosen] + steps, self.labels[chosen]

    def _next(self, kind: int) -> list[int]:
        members, count = self.kinds[kind]
        queue = self.queues[kind]
        while len(queue) < count:
            queue.extend(self.rng.permutation(members).tolist())
        taken, self.queues[kind] = queue[:count], queue[count:]
        return taken

    def _view(self, patch: int, shift: npt.NDArray[np.int64], flip: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
        z, y, x = self.patches.centre + shift
        view = self.patches.hu[patch, z : z + PATCH_SIZE, y : y + PATCH_SIZE, x : x + PATCH_SIZE]
        return np.flip(view, np.flatnonzero(flip))
