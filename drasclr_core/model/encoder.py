"""The patch encoder."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drasclr_core.config.settings import Features
from drasclr_core.model.layers import HyperConv3d, JoinedConv3d, LocationEmbedding, LocCondConv3d, StaticConv3d

PATCH_SIZE = 32
"""Edge of the only patch that the encoder's six halvings bring to a single voxel."""

Conditioning = Literal["location", "none", "concatenation", "hypernetwork"]

LAYERS = [(1, 8, 1), (8, 8, 2)]
LAYERS += [(8, 16, 1), (16, 16, 1), (16, 16, 2)]
LAYERS += [(16, 32, 1), (32, 32, 1), (32, 32, 2)]
LAYERS += [(32, 64, 1), (64, 64, 1), (64, 64, 2)]
LAYERS += [(64, 128, 1), (128, 128, 2)]
"""(channels in, channels out, stride) of each convolution; the last one's channels out are `feature_dim`."""

POOLED_LAYERS = tuple(range(2, 13))
"""Convolutions, counted from 1, that the features "pooled" join to h: the last one loses what these still tell.

The first holds more activations than the others together, and is left out.
"""

MIDDLE_LAYERS = tuple(range(2, 9))
"""Convolutions that the features "middle" join to h: those whose activations still have a middle."""

FEATURES: dict[Features, tuple[int, ...]] = {"last": (), "pooled": POOLED_LAYERS, "middle": MIDDLE_LAYERS}
"""Which features are read -> the convolutions whose activations are pooled for them."""

HYPER_DIM = 64
"""Length of the hypernetwork's embedded location, and of its hidden layers."""


class Encoder(nn.Module):
    """Thirteen convolutions, each with batch normalisation and ELU, from a patch to its feature vector.

    Parameters
    ----------
    feature_dim : int
        Length of h, the last layer's output, and of the projection head's output.
    num_experts : int
        Experts per Loc-CondConv layer.
    conditioning : "location", "none", "concatenation" or "hypernetwork"
        What the location does: it mixes the kernels (Loc-CondConv); nothing, the convolutions are plain; it is joined
        to the features of plain convolutions, and two fully connected layers fuse them; a fully connected network
        writes the kernels from it.
    head_norm : bool
        Whether the projection head has batch normalisation behind both its layers (SimCLR's has, DrasCLR's has not);
        the last has no weights and no running statistics.

    Attributes
    ----------
    convs : torch.nn.ModuleList
        The layers; the fully connected ones of "concatenation" are two convolutions of kernel size 1 more.
    norms : torch.nn.ModuleList
        Batch normalisation of each layer. The fusing layers have none: all patches of a batch share one location, so
        in training it would take the location away again.
    head : torch.nn.Sequential
        The projection head g, used by the contrastive losses only.
    features : "last", "pooled" or "middle"
        Which features are returned: h, the paper's; h, then for each of `POOLED_LAYERS` means and standard deviations
        over space of its activations, channel by channel; h, then those of `MIDDLE_LAYERS` over the middle 12 to 16
        voxels of the patch. No part of the weights.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, sections 2.3, 3 and 4.4.1.
    """

    def __init__(
        self,
        feature_dim: int = 128,
        num_experts: int = 8,
        conditioning: Conditioning = "location",
        head_norm: bool = False,
    ) -> None:
        super().__init__()
        self.features: Features = "last"
        shapes = [*LAYERS[:-1], (LAYERS[-1][0], feature_dim, LAYERS[-1][2])]
        layer = _layer(conditioning, num_experts)
        self.convs = nn.ModuleList(layer(i, o, kernel_size=3, stride=s, padding=1) for i, o, s in shapes)
        self.strides = [stride for *_, stride in shapes]
        self.norms = nn.ModuleList(nn.BatchNorm3d(channels) for _, channels, _ in shapes)
        if conditioning == "concatenation":
            fusing = [JoinedConv3d(feature_dim, feature_dim), StaticConv3d(feature_dim, feature_dim, 1, padding=0)]
            self.convs.extend(fusing)
            self.strides += [1, 1]
            self.norms.extend([nn.Identity(), nn.Identity()])
        self.embed_location = LocationEmbedding(HYPER_DIM) if conditioning == "hypernetwork" else nn.Identity()
        first, last = nn.Linear(feature_dim, feature_dim), nn.Linear(feature_dim, feature_dim)
        inner = [nn.BatchNorm1d(feature_dim)] if head_norm else []
        outer = [nn.BatchNorm1d(feature_dim, affine=False, track_running_stats=False)] if head_norm else []
        self.head = nn.Sequential(first, *inner, nn.ReLU(), last, *outer)

    @property
    def feature_dim(self) -> int:
        """Length of h."""
        first: Any = self.head[0]
        return int(first.in_features)

    @property
    def output_dim(self) -> int:
        """Length of the features that are returned; h is the first `feature_dim` of them."""
        return self.feature_dim + sum(2 * LAYERS[place - 1][1] for place in FEATURES[self.features])

    @property
    def device(self) -> torch.device:
        """Where the weights are, and the computation with them."""
        return next(self.parameters()).device

    def forward(self, x: Tensor, location: Tensor) -> Tensor:
        """Return the features.

        Parameters
        ----------
        x : (B, 1, 32, 32, 32) tensor
            Patches, intensities scaled to [-1, 1].
        location : (3,) or (M, 3) tensor
            Location codes; M divides B, and consecutive blocks of B / M patches share one location.

        Returns
        -------
        (B, output_dim) tensor

        Raises
        ------
        ValueError
            If the patches are not of 32 voxels a side.
        """
        return self.convolve(x, self.kernels(location.reshape(-1, 3)))

    def kernels(self, locations: Tensor) -> list[Tensor]:
        """Return what every layer takes from the locations (M, 3): its kernels, mostly, (M, out, in, k, k, k)."""
        layers: list[Any] = list(self.convs)
        embedded = self.embed_location(locations)
        return [conv.kernels(embedded) for conv in layers]

    def convolve(self, x: Tensor, kernels: list[Tensor]) -> Tensor:
        """Return the features as `forward` does, from `kernels` mixed before."""
        if x.shape[1:] != (1, PATCH_SIZE, PATCH_SIZE, PATCH_SIZE):
            raise ValueError(f"patches have shape {tuple(x.shape)}, but the encoder takes (B, 1, 32, 32, 32)")
        layers: list[Any] = list(self.convs)
        pooled = []
        for place, (conv, norm, mixed) in enumerate(zip(layers, self.norms, kernels, strict=True), start=1):
            x = F.elu(norm(conv.convolve(x, mixed)), inplace=True)
            if place in FEATURES[self.features]:
                pooled.append(_pool(x, self.features))
        return torch.cat([x.flatten(1), *pooled], dim=1)

    def project(self, features: Tensor) -> Tensor:
        """Return the projections g(h) of unit length, (B, feature_dim), that the losses compare, of features h."""
        return F.normalize(self.head(features), dim=1)

    @torch.no_grad()
    def at(self, location: Tensor) -> "EncoderAt":
        """Return the encoder of one location, or of a few: experts mixed, batch normalisation folded in.

        Parameters
        ----------
        location : (3,) or (M, 3) tensor
            Location codes.

        Returns
        -------
        EncoderAt
            Plain convolutions with the present weights and running statistics; later changes do not reach it.

        Raises
        ------
        ValueError
            If the encoder is in training mode, where batch normalisation depends on the batch.
        """
        if self.training:
            raise ValueError("an encoder in training mode has no features of its own: call eval() first")
        locations = location.reshape(-1, 3)
        layers = [_fold(*layer) for layer in zip(self.kernels(locations), self.convs, self.norms, strict=True)]
        return EncoderAt(layers, self.strides, len(locations), self.features)


# On a CPU the first layers take 4 patches at a time: a patch is a megabyte after the first, and many leave the caches.
# The rest takes all patches at once, so that its many weights are read (and reordered) once.
_EARLY_LAYERS = 5
_EARLY_PATCHES = 4

_LEAST_VARIANCE = 1e-12


class EncoderAt(nn.Module):
    """An encoder for inference at M fixed locations; `Encoder.at` makes it.

    Parameters
    ----------
    layers : list of (kernels, bias)
        Folded kernels, (M * out, in, k, k, k), location after location, and biases, (M * out,); k is 1 or 3.
    strides : list of int
        Of the layers.
    locations : int
        M.
    features : "last", "pooled" or "middle"
        Which are returned.
    """

    def __init__(
        self, layers: list[tuple[Tensor, Tensor]], strides: list[int], locations: int, features: Features
    ) -> None:
        super().__init__()
        self.strides = strides
        self.locations = locations
        self.features = features
        for place, (kernels, bias) in enumerate(layers, start=1):
            self.register_buffer(f"kernels{place}", kernels)
            self.register_buffer(f"bias{place}", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features.

        Parameters
        ----------
        x : (B, M, 32, 32, 32) tensor
            For each of the M locations B patches, intensities scaled to [-1, 1].

        Returns
        -------
        (B, M * output_dim) tensor
            Location after location.

        Raises
        ------
        ValueError
            If the patches are not M by 32 voxels a side.
        """
        if x.shape[1:] != (self.locations, PATCH_SIZE, PATCH_SIZE, PATCH_SIZE):
            raise ValueError(f"patches have shape {tuple(x.shape)}, not (B, {self.locations}, 32, 32, 32)")
        rows = max(1, _EARLY_PATCHES // self.locations) if x.device.type == "cpu" else max(1, len(x))
        early = zip(*(self._convolve(part, 1, _EARLY_LAYERS) for part in x.split(rows)), strict=True)
        x, *pooled = (torch.cat(parts) for parts in early)
        x, *more = self._convolve(x, _EARLY_LAYERS + 1, len(self.strides))
        return torch.cat([self._by_location(x).flatten(2), *pooled, *more], dim=2).flatten(1)

    def _convolve(self, x: Tensor, first: int, last: int) -> list[Tensor]:
        """Return what layers `first` to `last` make of x, and what is pooled on the way, each (B, M, 2 * channels)."""
        pooled = []
        for place in range(first, last + 1):
            kernels, bias = self.get_buffer(f"kernels{place}"), self.get_buffer(f"bias{place}")
            padding = kernels.shape[-1] // 2
            x = F.conv3d(x, kernels, bias, self.strides[place - 1], padding, groups=self.locations)
            x = F.elu(x, inplace=True)
            if place in FEATURES[self.features]:
                pooled.append(_pool(self._by_location(x), self.features))
        return [x, *pooled]

    def _by_location(self, x: Tensor) -> Tensor:
        """Return activations (B, M * channels, z, y, x) as (B, M, channels, z, y, x)."""
        return x.unflatten(1, (self.locations, -1))


def _pool(x: Tensor, features: Features) -> Tensor:
    """Return the mean and then the standard deviation over space of activations (..., C, z, y, x), (..., 2 * C)."""
    if features == "middle":
        margin = x.shape[-1] // 2 - math.ceil(x.shape[-1] * 3 / 16)
        x = x[..., margin:-margin, margin:-margin, margin:-margin]
    x = x.flatten(-3)
    mean = x.mean(dim=-1, keepdim=True)
    variance = (x - mean).square().mean(dim=-1)  # torch.var_mean takes ten times as long
    # The root has no gradient at 0, where constant activations are.
    return torch.cat([mean[..., 0], variance.clamp_min(_LEAST_VARIANCE).sqrt()], dim=-1)


def _layer(conditioning: Conditioning, num_experts: int) -> Callable[..., nn.Module]:
    """Return the class of the convolutions, its sizes settled."""
    if conditioning == "location":
        return partial(LocCondConv3d, num_experts=num_experts)
    if conditioning == "hypernetwork":
        return partial(HyperConv3d, embedding_dim=HYPER_DIM, rank=HYPER_DIM)
    return StaticConv3d


def _fold(mixed: Tensor, conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Return the kernels, (M * out, in, k, k, k), and biases, (M * out,), of a layer and its normalisation."""
    kernels, bias = conv.plain(mixed)
    if isinstance(norm, nn.Identity):
        return kernels.flatten(0, 1).clone(), bias.flatten().clone()
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    folded = kernels * scale.view(-1, 1, 1, 1, 1)
    return folded.flatten(0, 1), ((bias - norm.running_mean) * scale + norm.bias).flatten()


def normalise_hu(hu: Tensor) -> Tensor:
    """Clip int16 HU to [-1024, 240] and scale linearly to [-1, 1], in float32 (paper section 4.1)."""
    return hu.to(torch.float32).clamp_(-1024, 240).add_(1024).div_(632).sub_(1)
