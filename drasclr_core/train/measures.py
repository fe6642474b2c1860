"""What a training step achieves: how near queries are to their keys, how spread out, how often right."""

import torch
from torch import Tensor

MEANS = ("loss_local", "loss_neighbour", "chance", "alignment", "potential", "effective_rank")
"""Measures that are means over the groups of a step, but the last, which is of the whole batch.

``chance`` is the loss of features that are all alike, log(1 + negatives); ``potential`` the mean pair potential of the
queries of a group; ``effective_rank`` that of their features h.
"""

COUNTS = (
    *("hits", "queries", "wins", "pairs"),
    *("fresh_hits", "fresh_queries", "fresh_wins", "fresh_pairs"),
    "age",
)
"""Measures that are sums over all queries of a step: `skill` against the negatives of the loss, then against the
other keys of the batch; and the age in steps of each negative of the loss."""

MEASURES = (*MEANS, *COUNTS)
"""What `contrast.Contrast.step` returns, in this order."""


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
