"""What the queries of one group are compared with in a step."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Keys:
    """The keys of a batch that the queries of a group see.

    Attributes
    ----------
    vectors : (n, C) tensor
        Of all B subjects; without a key encoder of the b subjects of the group.
    persons : (n,) int64 tensor
        Whose they are.
    own : slice
        Those of the group's queries.
    """

    vectors: Tensor
    persons: Tensor
    own: slice

    @property
    def positives(self) -> Tensor:
        """The key of each query, (b, C)."""
        return self.vectors[self.own]

    def not_negative(self, mask_same_subject: bool) -> Tensor:
        """Return which keys are no negatives of a query, (b, n): its own; of its person, where those are masked."""
        whose = self.persons if mask_same_subject else torch.arange(len(self.persons), device=self.persons.device)
        return whose[self.own, None] == whose


@dataclass(frozen=True)
class Negatives:
    """The other keys that the queries of a group are told from.

    Attributes
    ----------
    keys : (n, C) tensor
    masked : (b, n) bool tensor
        Which of them a query must not see.
    ages : (n,) int64 tensor
        Steps since each was made.
    """

    keys: Tensor
    masked: Tensor
    ages: Tensor


@dataclass(frozen=True)
class Comparison:
    """What the losses of one group are made of.

    Attributes
    ----------
    features, queries : (b, D) and (b, C) tensors
        h, and g(h) of unit length.
    keys : Keys
    negatives : Negatives
    local : (b, 1 + n) tensor
        Logits; the positive is in column 0. Without a key encoder (2b, 1 + n): then those of the keys as queries.
    around : (b, 1 + n) tensor, optional
        Logits of the neighbours; None without them.
    """

    features: Tensor
    queries: Tensor
    keys: Keys
    negatives: Negatives
    local: Tensor
    around: Tensor | None
