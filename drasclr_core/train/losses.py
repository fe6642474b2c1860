"""The contrastive losses."""

import torch
from torch import Tensor


def contrastive_logits(
    query: Tensor, key: Tensor, negatives: Tensor, temperature: float, masked: Tensor | None = None
) -> Tensor:
    """Return the similarity of each query to its key, then to all negatives, over the temperature.

    Parameters
    ----------
    query, key : (B, C) tensors
        Query i belongs to key i.
    negatives : (n, C) tensor
        Keys of others at the same landmark.
    temperature : float
        tau in the paper.
    masked : (B, n) bool tensor, optional
        Negatives that a query must not see; their logit is minus infinity.

    Returns
    -------
    (B, 1 + n) tensor
        The positive is in column 0.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 2.3, equation 6.
    """
    positive = (query * key).sum(1, keepdim=True)
    negative = query @ negatives.T
    if masked is not None:
        negative = negative.masked_fill(masked, -torch.inf)
    return torch.cat([positive, negative], dim=1) / temperature


def neighbour_logits(
    neighbours: Tensor, key: Tensor, negatives: Tensor, temperature: float, masked: Tensor | None = None
) -> Tensor:
    """Return the logits, (B, 1 + n), of sets of neighbours (k, B, C): their similarities are summed.

    As released; the set of neighbours is the query, and its centre's key the positive
    (paper section 2.4, equation 8).
    """
    return contrastive_logits(neighbours.sum(0), key, negatives, temperature, masked)


def info_nce(logits: Tensor) -> Tensor:
    """Return the mean over rows of minus the log-probability of column 0, a scalar."""
    return (logits.logsumexp(1) - logits[:, 0]).mean()
