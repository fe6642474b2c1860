"""Momentum contrast with one queue of keys per landmark."""

import torch
from torch import Tensor, nn


class KeyQueues:
    """The last K keys of each landmark, and whose they are.

    Parameters
    ----------
    landmarks : int
        Queues (L); 1 for a single global queue.
    size : int
        Keys per queue (K).
    dim : int
        Length of a key (C).
    generator : torch.Generator
        Draws the random unit vectors the queues start with.
    device, dtype
        Where and how the keys are kept.

    Attributes
    ----------
    keys : (L, K, C) tensor
        Contiguous per landmark.
    subjects : (L, K) int64 tensor
        Index of each key's subject; -1 for the random vectors of the start.
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
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        keys = torch.randn(landmarks, size, dim, generator=generator)
        self.keys = nn.functional.normalize(keys, dim=2).to(device, dtype)
        self.subjects = torch.full((landmarks, size), -1, device=device)
        self.pointers = [0] * landmarks

    def same_subject(self, landmark: int, subjects: Tensor) -> Tensor:
        """Return which slots, (B, K) bool, hold a key of the query's own subject."""
        return subjects[:, None] == self.subjects[landmark]

    def enqueue(self, landmark: int, keys: Tensor, subjects: Tensor) -> None:
        """Overwrite the oldest B keys of `landmark`; any B up to K.

        Parameters
        ----------
        landmark : int
            Queue index.
        keys : (B, C) tensor
            New keys, of unit length.
        subjects : (B,) int64 tensor
            Whose keys they are.
        """
        size = self.keys.shape[1]
        slots = (self.pointers[landmark] + torch.arange(len(keys), device=self.keys.device)) % size
        self.keys[landmark, slots] = keys.to(self.keys.dtype)
        self.subjects[landmark, slots] = subjects
        self.pointers[landmark] = (self.pointers[landmark] + len(keys)) % size

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything a checkpoint must hold."""
        return {"keys": self.keys, "subjects": self.subjects, "pointers": torch.tensor(self.pointers)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.keys.copy_(state["keys"])
        self.subjects.copy_(state["subjects"])
        self.pointers = state["pointers"].tolist()


@torch.no_grad()
def update_key_encoder(key_encoder: nn.Module, encoder: nn.Module, momentum: float) -> None:
    """Move the key encoder's parameters, not its batch statistics, towards the encoder's (paper equation 5)."""
    keys: list[Tensor] = list(key_encoder.parameters())
    queries: list[Tensor] = list(encoder.parameters())
    torch._foreach_lerp_(keys, queries, 1 - momentum)
