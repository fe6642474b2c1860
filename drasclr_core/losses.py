"""The contrastive losses, and two measures of what they achieve."""

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
    negatives : (K, C) tensor
        The landmark's queue.
    temperature : float
        tau in the paper.
    masked : (B, K) bool tensor, optional
        Negatives that a query must not see; their logit is minus infinity.

    Returns
    -------
    (B, 1 + K) tensor
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
    """Return the logits, (B, 1 + K), of sets of neighbours (k, B, C): their similarities are summed.

    As released; the set of neighbours is the query, and its centre's key the positive
    (paper section 2.4, equation 8).
    """
    return contrastive_logits(neighbours.sum(0), key, negatives, temperature, masked)


def info_nce(logits: Tensor) -> Tensor:
    """Return the mean over rows of minus the log-probability of column 0, a scalar."""
    return (logits.logsumexp(1) - logits[:, 0]).mean()


def alignment(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the mean squared distance between queries and their keys, (B, C) each of unit length, a scalar.

    References
    ----------
    Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", ICML 2020, section 4.1.1.
    """
    return (queries - keys).square().sum(1).mean()


def pair_potential(points: Tensor) -> Tensor:
    """Return the mean of exp(-2 |x - y|^2) over all pairs of points (B, C) of unit length, a scalar.

    Its logarithm is the uniformity (Wang and Isola 2020, section 4.1.2): 0 where all points are one, close to -4 where
    they are spread evenly over a sphere of many dimensions.
    """
    return torch.pdist(points).square().mul(-2).exp().mean()
