"""One training step: views in, both losses, gradients, momentum update, queues out."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from drasclr_core.encoder import Encoder
from drasclr_core.losses import alignment, contrastive_logits, info_nce, neighbour_logits, pair_potential
from drasclr_core.moco import KeyQueues, update_key_encoder
from drasclr_core.parallel import Processes
from drasclr_core.settings import PretrainSettings


@dataclass(frozen=True)
class Views:
    """The augmented patches of one batch, those of this process's g groups.

    Attributes
    ----------
    landmark : int
        Landmark index.
    subjects : (B,) int64 tensor
        Subject indices of the whole batch, group after group.
    queries, keys : (g, b, 1, P, P, P) tensors
        Two views of each patch.
    neighbours : (g, k, b, 1, P, P, P) tensor
        A view of each neighbouring patch.
    key_order : (B,) int64 tensor
        In which order the keys of the whole batch are dealt to the groups.
    """

    landmark: int
    subjects: Tensor
    queries: Tensor
    keys: Tensor
    neighbours: Tensor
    key_order: Tensor


class StepKernels:
    """The kernels at a landmark and at its neighbours, mixed once for all groups of a step.

    Parameters
    ----------
    encoder : Encoder
    codes : (1 + k, 3) tensor
        Location codes of the landmark and of its neighbours.

    Attributes
    ----------
    centre, around : list of (1, out, in, 3, 3, 3) and of (k, out, in, 3, 3, 3) tensors
        Of each convolution. They take the gradients of a group.
    """

    def __init__(self, encoder: Encoder, codes: Tensor) -> None:
        # In full precision whatever the convolutions run in, as the experts themselves.
        mixed = [layer.split([1, len(codes) - 1]) for layer in encoder.kernels(codes)]
        leaves = [[part.detach().requires_grad_() for part in layer] for layer in mixed]
        self.centre = [centre for centre, _ in leaves]
        self.around = [around for _, around in leaves]
        self._mixed = [part for layer in mixed for part in layer]
        self._leaves = [leaf for layer in leaves for leaf in layer]

    def backward(self) -> None:
        """Send the gradients of one group through the mixing.

        Group by group, for so do several processes: those of all groups at once would add up in another order.
        """
        used = [place for place, leaf in enumerate(self._leaves) if leaf.grad is not None]
        if used:  # plain convolutions mix nothing
            gradients = [self._leaves[i].grad for i in used]
            torch.autograd.backward([self._mixed[i] for i in used], gradients, retain_graph=True)
        for leaf in self._leaves:
            leaf.grad = None


class Contrast:
    """Query encoder, key encoder, queues and optimiser, and the step that moves them all.

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
        self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.codes = torch.as_tensor(codes, dtype=self.dtype, device=device)
        self.neighbours = neighbours[:, : settings.neighbours].tolist()
        self.queues = KeyQueues(
            landmarks=len(codes) if settings.queues == "landmark" else 1,
            size=settings.queue_size,
            dim=settings.feature_dim,
            generator=torch.Generator().manual_seed(settings.seed),
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
        (5,) tensor
            Local loss, neighbouring loss, how often the positive scored highest, alignment, and mean pair potential
            of the queries of a group (see `losses`); means over the groups.
        () tensor
            How many processes want to stop; like the measures it is on the device, and to read it is to wait for it.
        """
        keys = self.encode_keys(views)
        start = [buffer.clone() for buffer in self._statistics]
        totals = [torch.zeros_like(buffer) for buffer in self._statistics]
        measured = torch.zeros(6, dtype=self.dtype, device=self.device)
        measured[5] = float(stop)
        self.optimiser.zero_grad()
        kernels = self.kernels(views.landmark)
        for place, group in enumerate(self.processes.own_groups):
            measured[:5] += self._learn_from_group(views, place, group, keys, kernels)
            kernels.backward()
            # Every group starts from the same running statistics; their mean is kept.
            torch._foreach_add_(totals, self._statistics)
            torch._foreach_copy_(self._statistics, start)
        self.processes.sum_([*self._gradients(), *totals, measured])
        torch._foreach_div_(totals, self.processes.groups)
        torch._foreach_copy_(self._statistics, totals)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = learning_rate
        self.optimiser.step()
        self.queues.enqueue(self._queue(views.landmark), keys, views.subjects)
        return measured[:5], measured[5]

    @torch.no_grad()
    def encode_keys(self, views: Views) -> Tensor:
        """Update the key encoder and return the keys of the whole batch, (B, C), in its order.

        The keys are dealt to the groups in another order than the queries, so that batch statistics do not
        give a query's own key away (MoCo's shuffling).
        """
        update_key_encoder(self.key_encoder, self.encoder, self.settings.key_momentum)
        patches = self.processes.gather(views.keys.flatten(0, 1))
        dealt = views.key_order.view(self.processes.groups, -1)[list(self.processes.own_groups)]
        kernels = self.key_encoder.kernels(self.codes[[views.landmark]])
        own = [self._project(self.key_encoder, patches[order], kernels) for order in dealt]
        keys = self.processes.gather(torch.cat(own))
        return keys[views.key_order.argsort()]

    def kernels(self, landmark: int) -> StepKernels:
        """Mix the encoder's kernels for one step at a landmark."""
        return StepKernels(self.encoder, self.codes[[landmark, *self.neighbours[landmark]]])

    def logits(
        self, views: Views, place: int, group: int, keys: Tensor, kernels: StepKernels
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the local and the neighbouring logits, (b, 1 + K) each, and the queries, (b, C), of one own group.

        `place` is the group's row in the views, `group` its number; the second is None without neighbours.
        """
        share = self.settings.batch_size // self.settings.groups
        mine = slice(group * share, (group + 1) * share)
        queue = self._queue(views.landmark)
        # The queue is overwritten after the step, before nothing that still needs it.
        negatives, tau = self.queues.keys[queue].to(self.dtype), self.settings.temperature
        masked = self.queues.same_subject(queue, views.subjects[mine]) if self.settings.mask_same_subject else None
        query = self._project(self.encoder, views.queries[place], kernels.centre)
        local = contrastive_logits(query, keys[mine], negatives, tau, masked)
        if not self.settings.neighbours:
            return local, None, query
        around = views.neighbours[place]
        projected = self._project(self.encoder, around.flatten(0, 1), kernels.around).unflatten(0, around.shape[:2])
        return local, neighbour_logits(projected, keys[mine], negatives, tau, masked), query

    def state_dict(self) -> dict[str, dict]:
        """Return everything that a checkpoint must hold."""
        return {name: getattr(self, name).state_dict() for name in _STATE}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        """Restore what `state_dict` returned."""
        for name in _STATE:
            getattr(self, name).load_state_dict(state[name])

    def _learn_from_group(self, views: Views, place: int, group: int, keys: Tensor, kernels: StepKernels) -> Tensor:
        """Add the group's share of the gradients; return its share of the measures."""
        local, around, query = self.logits(views, place, group, keys, kernels)
        loss_local = info_nce(local)
        loss_around = torch.zeros_like(loss_local) if around is None else info_nce(around)
        ((loss_local + self.settings.beta * loss_around) / self.settings.groups).backward()
        with torch.no_grad():
            top1 = (local.argmax(1) == 0).to(local.dtype).mean()
            share = len(query)
            near = alignment(query, keys[group * share : (group + 1) * share])
            measures = torch.stack([loss_local, loss_around, top1, near, pair_potential(query)])
        return measures / self.settings.groups

    def _project(self, encoder: Encoder, x: Tensor, kernels: list[Tensor]) -> Tensor:
        if self.settings.channels_last:
            x = x.to(memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            return encoder.project(x, kernels).to(self.dtype)

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.encoder.parameters() if parameter.grad is not None]

    def _queue(self, landmark: int) -> int:
        return landmark if self.settings.queues == "landmark" else 0


_STATE = ("encoder", "key_encoder", "queues", "optimiser")
