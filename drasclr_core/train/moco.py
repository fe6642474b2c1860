"""Momentum contrast with one queue of keys per landmark."""

import torch
from torch import Tensor, nn


class KeyQueues:
    """The last K keys of each landmark, whose they are, and when they were made.

    Parameters
    ----------
    landmarks : int
        Queues (L); 1 for a single global queue.
    size : int
        Keys per queue (K).
    dim : int
        Length of a key (C).
    device, dtype
        Where and how the keys are kept.

    Attributes
    ----------
    keys : (L, K, C) tensor
        Contiguous per landmark.
    persons : (L, K) int64 tensor
        Index of each key's person; -1 for a slot that is not filled yet.
    steps : (L, K) int64 tensor
        The step that made each key; -1 likewise.
    pointers : list of int
        Next slot to overwrite, per landmark; kept on the host so that no step waits for the device.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 3 ("conditional memory bank").
    """

    def __init__(
        self,
        landmarks: int,
        size: int,
        dim: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.keys = torch.zeros(landmarks, size, dim, device=device, dtype=dtype)
        self.persons = torch.full((landmarks, size), -1, device=device)
        self.steps = torch.full((landmarks, size), -1, device=device)
        self.pointers = [0] * landmarks

    def masked(self, landmark: int, since: int, persons: Tensor | None = None) -> Tensor:
        """Return which slots are no negatives: not filled, filled before step `since`, or of the query's own person.

        Parameters
        ----------
        landmark : int
            Queue index.
        since : int
            First step whose keys count; 0 for all.
        persons : (B,) int64 tensor, optional
            Whose the queries are; without it own keys count.

        Returns
        -------
        (B, K) bool tensor; (1, K) without `persons`
        """
        unseen = self.steps[landmark] < since  # an unfilled slot is of step -1
        return unseen[None] if persons is None else unseen | (persons[:, None] == self.persons[landmark])

    def enqueue(self, landmark: int, keys: Tensor, persons: Tensor, step: int) -> None:
        """Overwrite the oldest B keys of `landmark`; any B up to K.

        Parameters
        ----------
        landmark : int
            Queue index.
        keys : (B, C) tensor
            New keys, of unit length.
        persons : (B,) int64 tensor
            Whose keys they are.
        step : int
            That made them, from 0.
        """
        size = self.keys.shape[1]
        slots = (self.pointers[landmark] + torch.arange(len(keys), device=self.keys.device)) % size
        self.keys[landmark, slots] = keys.to(self.keys.dtype)
        self.persons[landmark, slots] = persons
        self.steps[landmark, slots] = step
        self.pointers[landmark] = (self.pointers[landmark] + len(keys)) % size

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything a checkpoint must hold."""
        pointers = torch.tensor(self.pointers)
        return {"keys": self.keys, "persons": self.persons, "steps": self.steps, "pointers": pointers}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name in ("keys", "persons", "steps"):
            getattr(self, name).copy_(state[name])
        self.pointers = state["pointers"].tolist()


@torch.no_grad()
def update_key_encoder(key_encoder: nn.Module, encoder: nn.Module, momentum: float) -> None:
    """Move the key encoder's parameters, not its batch statistics, towards the encoder's (paper equation 5)."""
    keys: list[Tensor] = list(key_encoder.parameters())
    queries: list[Tensor] = list(encoder.parameters())
    torch._foreach_lerp_(keys, queries, 1 - momentum)
