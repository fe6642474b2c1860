"""One training step: views in, both losses, gradients, momentum update, queues out."""

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from drasclr_core.config.settings import PretrainSettings
from drasclr_core.model.encoder import Encoder
from drasclr_core.model.step_kernels import StepKernels
from drasclr_core.train.comparison import Comparison, Keys, Negatives
from drasclr_core.train.losses import contrastive_logits, info_nce, neighbour_logits
from drasclr_core.train.measures import COUNTS, MEANS, alignment, effective_rank, pair_potential, skill
from drasclr_core.train.moco import KeyQueues, update_key_encoder
from drasclr_core.train.parallel import Processes
from drasclr_core.train.views import Views


class Contrast:
    """Query encoder, key encoder, queues and optimiser, and the step that moves them all.

    Without a key encoder (`settings.key_momentum` None) the query encoder makes the keys of each group too, with
    gradients, both views in one batch; either view is in turn the query, and told from both views of all others
    (NT-Xent; Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020).

    Parameters
    ----------
    encoder : Encoder
        Trained in place.
    codes : (L, 3) array
        Location codes.
    neighbours : (L, at least k) array
        Neighbour table.
    settings : PretrainSettings
    processes : Processes
    device : torch.device

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, sections 2.3 to 2.5.
    """

    def __init__(
        self,
        encoder: Encoder,
        codes: np.ndarray,
        neighbours: np.ndarray,
        settings: PretrainSettings,
        processes: Processes,
        device: torch.device,
    ) -> None:
        self.settings, self.processes, self.device = settings, processes, device
        self.dtype = torch.float64 if settings.precision == "float64" else torch.float32
        self.encoder = encoder.to(device, self.dtype).train()
        self.encoder.features = "last"  # h is what the losses compare
        self.key_encoder = None
        if settings.key_momentum is not None:
            self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.codes = torch.as_tensor(codes, dtype=self.dtype, device=device)
        self.neighbours = neighbours[:, : settings.neighbours].tolist()
        self.queues = KeyQueues(
            landmarks=len(codes) if settings.queues == "landmark" else 1,
            size=0 if settings.negatives == "batch" else settings.queue_size,
            dim=settings.feature_dim,
            device=device,
            dtype=torch.float16 if settings.queue_precision == "float16" else self.dtype,
        )
        self.optimiser = torch.optim.SGD(
            self.encoder.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._statistics: list[Tensor] = [
            buffer for name, buffer in self.encoder.named_buffers() if name.endswith(("running_mean", "running_var"))
        ]

    def step(self, views: Views, learning_rate: float, stop: bool = False) -> tuple[Tensor, Tensor]:
        """Learn from one batch.

        Parameters
        ----------
        views : Views
        learning_rate : float
            For this step.
        stop : bool
            Whether this process wants to stop.

        Returns
        -------
        (len(MEASURES),) tensor
            As `MEASURES` names them.
        () tensor
            How many processes want to stop; like the measures it is on the device, and to read it is to wait for it.
        """
        keys = self.encode_keys(views) if self.key_encoder else None
        start = [buffer.clone() for buffer in self._statistics]
        totals = [torch.zeros_like(buffer) for buffer in self._statistics]
        # Of all groups of all processes: the means, the counts, the wishes.
        means = torch.zeros(len(MEANS) - 1, dtype=self.dtype, device=self.device)
        counts = torch.zeros(len(COUNTS), dtype=self.dtype, device=self.device)
        wishes = torch.full((), float(stop), dtype=self.dtype, device=self.device)
        features = []
        self.optimiser.zero_grad()
        kernels = self.kernels(views.landmark)
        for place, group in enumerate(self.processes.own_groups):
            compared = self.compare(views, place, group, keys, kernels)
            means += self._learn_from(compared)
            counts += self._count(compared)
            features.append(compared.features.detach())
            kernels.backward()
            # Every group starts from the same running statistics; their mean is kept.
            torch._foreach_add_(totals, self._statistics)
            torch._foreach_copy_(self._statistics, start)
        self.processes.sum_([*self._gradients(), *totals, means, counts, wishes])
        torch._foreach_div_(totals, self.processes.groups)
        torch._foreach_copy_(self._statistics, totals)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = learning_rate
        self.optimiser.step()
        if keys is not None and self.settings.negatives != "batch":
            self.queues.enqueue(self._queue(views.landmark), keys, views.persons, views.step)
        rank = effective_rank(self.processes.gather(torch.cat(features)))
        return torch.cat([means, rank[None], counts]), wishes

    @torch.no_grad()
    def encode_keys(self, views: Views) -> Tensor:
        """Update the key encoder, which there must be, and return the keys of the whole batch, (B, C), in its order.

        The keys are dealt to the groups in another order than the queries, so that batch statistics do not
        give a query's own key away (MoCo's shuffling).
        """
        assert self.key_encoder is not None
        assert self.settings.key_momentum is not None
        update_key_encoder(self.key_encoder, self.encoder, self.settings.key_momentum)
        patches = self.processes.gather(views.keys.flatten(0, 1))
        dealt = views.key_order.view(self.processes.groups, -1)[list(self.processes.own_groups)]
        kernels = self.key_encoder.kernels(self.codes[[views.landmark]])
        own = [self._encode(self.key_encoder, patches[order], kernels)[1] for order in dealt]
        keys = self.processes.gather(torch.cat(own))
        return keys[views.key_order.argsort()]

    def kernels(self, landmark: int) -> StepKernels:
        """Mix the encoder's kernels for one step at a landmark."""
        return StepKernels(self.encoder, self.codes[[landmark, *self.neighbours[landmark]]])

    def compare(self, views: Views, place: int, group: int, keys: Tensor | None, kernels: StepKernels) -> Comparison:
        """Compare the queries of one own group with the keys of the batch, (B, C) or None, and with the negatives.

        `place` is the group's row in the views, `group` its number. Without `keys` the group makes its own.
        """
        tau, members = self.settings.temperature, self._members(group)
        if keys is None:
            both = torch.cat([views.queries[place], views.keys[place]])
            (features, _), (queries, vectors) = (x.chunk(2) for x in self._encode(self.encoder, both, kernels.centre))
            seen = Keys(vectors, views.persons[members], slice(0, len(vectors)))
        else:
            features, queries = self._encode(self.encoder, views.queries[place], kernels.centre)
            seen = Keys(keys, views.persons, members)
        negatives = self.negatives(views, seen, queries)
        local = contrastive_logits(queries, seen.positives, negatives.keys, tau, negatives.masked)
        if keys is None:
            back = contrastive_logits(seen.vectors, queries, negatives.keys, tau, negatives.masked)
            local = torch.cat([local, back])
        if not self.settings.neighbours:
            return Comparison(features, queries, seen, negatives, local, None)
        patches = views.neighbours[place]
        _, flat = self._encode(self.encoder, patches.flatten(0, 1), kernels.around)
        projected = flat.unflatten(0, patches.shape[:2])
        around = neighbour_logits(projected, seen.positives, negatives.keys, tau, negatives.masked)
        return Comparison(features, queries, seen, negatives, local, around)

    def negatives(self, views: Views, keys: Keys, queries: Tensor) -> Negatives:
        """Return the negatives of one group: of its landmark's queue, of the keys of the batch, or of both.

        Without a key encoder either view is a key, and so the other `queries` are negatives too.
        """
        queue, persons = self._queue(views.landmark), keys.persons[keys.own]
        hidden = persons if self.settings.mask_same_subject else None
        since = views.visit if self.settings.negatives == "fresh" else 0
        # The queue is overwritten after the step, before nothing that still needs it.
        kept = self.queues.keys[queue].to(self.dtype)
        masked = self.queues.masked(queue, since, hidden).expand(len(persons), -1)
        ages = views.step - self.queues.steps[queue]
        if self.settings.negatives == "queue":
            return Negatives(kept, masked, ages)
        fresh = [keys.vectors] if self.key_encoder else [keys.vectors, queries]
        masked = torch.cat([masked, *[keys.not_negative(self.settings.mask_same_subject)] * len(fresh)], dim=1)
        vectors = torch.cat([kept, *fresh])
        return Negatives(vectors, masked, F.pad(ages, (0, len(vectors) - len(ages))))

    def state_dict(self) -> dict[str, dict]:
        """Return everything that a checkpoint must hold."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        """Restore what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"encoder": self.encoder, "queues": self.queues, "optimiser": self.optimiser}
        return {**parts, "key_encoder": self.key_encoder} if self.key_encoder else parts

    def _learn_from(self, compared: Comparison) -> Tensor:
        """Add a group's share of the gradients; return its share of `MEANS` but the last."""
        local = info_nce(compared.local)
        around = torch.zeros_like(local) if compared.around is None else info_nce(compared.around)
        ((local + self.settings.beta * around) / self.settings.groups).backward()
        with torch.no_grad():
            chance = (~compared.negatives.masked).sum(1).to(self.dtype).log1p().mean()
            near, potential = alignment(compared.queries, compared.keys.positives), pair_potential(compared.queries)
        return torch.stack([local.detach(), around.detach(), chance, near, potential]) / self.settings.groups

    @torch.no_grad()
    def _count(self, compared: Comparison) -> Tensor:
        """Return the `COUNTS` of one group."""
        queries, keys, negatives = compared.queries, compared.keys, compared.negatives
        local = compared.local[: len(queries)]
        ages = ((~negatives.masked).sum(0) * negatives.ages).sum()
        similar = queries @ keys.vectors.T
        own = similar.diagonal(offset=keys.own.start)[:, None]
        fresh = skill(own, similar, keys.not_negative(self.settings.mask_same_subject))
        return torch.cat([skill(local[:, :1], local[:, 1:], negatives.masked), fresh, ages[None].to(self.dtype)])

    def _members(self, group: int) -> slice:
        share = self.settings.batch_size // self.settings.groups
        return slice(group * share, (group + 1) * share)

    def _encode(self, encoder: Encoder, x: Tensor, kernels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the features h, (B, D), and their projections, (B, C)."""
        if self.settings.channels_last:
            x = x.to(memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            features = encoder.convolve(x, kernels)
            return features.to(self.dtype), encoder.project(features).to(self.dtype)

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.encoder.parameters() if parameter.grad is not None]

    def _queue(self, landmark: int) -> int:
        return landmark if self.settings.queues == "landmark" else 0
