"""The patch encoder."""

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drasclr_core.layers import LocCondConv3d, StaticConv3d

PATCH_SIZE = 32
"""Edge of the only patch that the encoder's six halvings bring to a single voxel."""

Conditioning = Literal["location", "none"]

LAYERS = [(1, 8, 1), (8, 8, 2)]
LAYERS += [(8, 16, 1), (16, 16, 1), (16, 16, 2)]
LAYERS += [(16, 32, 1), (32, 32, 1), (32, 32, 2)]
LAYERS += [(32, 64, 1), (64, 64, 1), (64, 64, 2)]
LAYERS += [(64, 128, 1), (128, 128, 2)]
"""(channels in, channels out, stride) of each convolution; the last one's channels out are `feature_dim`."""


class Encoder(nn.Module):
    """Thirteen convolutions, each with batch normalisation and ELU, from a patch to its feature vector.

    Parameters
    ----------
    feature_dim : int
        Length of the feature, and of the projection head's output.
    num_experts : int
        Experts per Loc-CondConv layer.
    conditioning : "location" or "none"
        Loc-CondConv, or plain convolutions that ignore the location.

    Attributes
    ----------
    head : torch.nn.Sequential
        The projection head g, used by the contrastive losses only.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, sections 2.3 and 3.
    """

    def __init__(self, feature_dim: int = 128, num_experts: int = 8, conditioning: Conditioning = "location") -> None:
        super().__init__()
        layer = partial(LocCondConv3d, num_experts=num_experts) if conditioning == "location" else StaticConv3d
        shapes = [*LAYERS[:-1], (LAYERS[-1][0], feature_dim, LAYERS[-1][2])]
        self.convs = nn.ModuleList(layer(i, o, kernel_size=3, stride=s, padding=1) for i, o, s in shapes)
        self.norms = nn.ModuleList(nn.BatchNorm3d(channels) for _, channels, _ in shapes)
        self.head = nn.Sequential(nn.Linear(feature_dim, feature_dim), nn.ReLU(), nn.Linear(feature_dim, feature_dim))

    def forward(self, x: Tensor, location: Tensor) -> Tensor:
        """Return the features h.

        Parameters
        ----------
        x : (B, 1, 32, 32, 32) tensor
            Patches, intensities scaled to [-1, 1].
        location : (3,) or (M, 3) tensor
            Location codes; M divides B, and consecutive blocks of B / M patches share one location.

        Returns
        -------
        (B, feature_dim) tensor

        Raises
        ------
        ValueError
            If the patches are not of 32 voxels a side.
        """
        if x.shape[1:] != (1, PATCH_SIZE, PATCH_SIZE, PATCH_SIZE):
            raise ValueError(f"patches have shape {tuple(x.shape)}, but the encoder takes (B, 1, 32, 32, 32)")
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.elu(norm(conv(x, location)), inplace=True)
        return x.flatten(1)

    def project(self, x: Tensor, location: Tensor) -> Tensor:
        """Return the projections g(h) of unit length, (B, feature_dim), that the losses compare."""
        return F.normalize(self.head(self(x, location)), dim=1)


def normalise_hu(hu: Tensor) -> Tensor:
    """Clip int16 HU to [-1024, 240] and scale linearly to [-1, 1], in float32 (paper section 4.1)."""
    return hu.to(torch.float32).clamp_(-1024, 240).add_(1024).div_(632).sub_(1)
