"""The contrastive losses, and measures of what they achieve."""

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


def skill(positive: Tensor, negatives: Tensor, masked: Tensor) -> Tensor:
    """Count how often queries are closer to their own key than to others'.

    Parameters
    ----------
    positive : (B, 1) tensor
        Similarity of each query to its key.
    negatives : (B, n) tensor
        To other keys.
    masked : (B, n) bool tensor
        Which of these do not count.

    Returns
    -------
    (4,) tensor
        Queries whose key is strictly the closest of all, and queries that have a negative; pairs of a query and a
        negative in which the own key is closer, a tie as one half, and all such pairs.
    """
    others = negatives.masked_fill(masked, -torch.inf)
    has_any = (~masked).any(1)
    hits = (positive > others).all(1) & has_any
    wins = ((positive > others) + 0.5 * (positive == others)).masked_fill(masked, 0)
    return torch.stack([hits.sum(), has_any.sum(), wins.sum(), (~masked).sum()]).to(positive.dtype)


def effective_rank(features: Tensor) -> Tensor:
    """Return (sum of eigenvalues)^2 / (sum of their squares) of the covariance of features (B, D), a scalar.

    The participation ratio: D where they spread equally in all directions, 1 on a line; 0 where all are one.
    """
    centred = features - features.mean(0)
    # The non-zero eigenvalues are those of the smaller of both products; their sums are a trace and a norm.
    product = centred @ centred.T if len(features) < features.shape[1] else centred.T @ centred
    squares = product.square().sum()
    return torch.where(squares > 0, product.trace().square() / squares.clamp_min(torch.finfo(squares.dtype).tiny), 0)
