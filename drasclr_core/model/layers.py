"""Convolutions that depend, or not, on where in the atlas the patch was cut.

All have one interface, so that the encoder treats them alike: `kernels` computes what a layer takes from the
locations (M, 3), its first axis M; `convolve` uses that for the patches; `plain` turns it into kernels and biases of
ordinary convolutions. The paper compares them in Table 6.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocCondConv3d(nn.Module):
    """3D convolution with a kernel mixed from experts by the atlas location.

    The kernel is ``sum_e sigmoid(W p + b)_e K_e``. It is mixed once per location, never once per patch.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding : int
        As of `torch.nn.Conv3d`.
    num_experts : int
        Kernels to mix (E).

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 2.2, equations 3 and 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        num_experts: int = 8,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        self.routing = nn.Linear(3, num_experts)
        self.weight = nn.Parameter(torch.empty(num_experts, out_channels, in_channels, *[kernel_size] * 3))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Give the mixed kernel the variance of a plain convolution's.

        The routing weights are close to 1/2, so a sum of E experts has E/4 times their variance.
        """
        num_experts, _, *fan_in = self.weight.shape
        plain_bound = 1 / math.sqrt(math.prod(fan_in))
        nn.init.uniform_(
            self.weight, -plain_bound * 2 / math.sqrt(num_experts), plain_bound * 2 / math.sqrt(num_experts)
        )
        nn.init.uniform_(self.bias, -plain_bound, plain_bound)

    def kernels(self, locations: Tensor) -> Tensor:
        """Return the mixed kernels, (M, out, in, k, k, k), of the locations (M, 3)."""
        routing = torch.sigmoid(self.routing(locations))
        return (routing @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])

    def forward(self, x: Tensor, location: Tensor) -> Tensor:
        """Convolve each patch with the kernel of its location.

        Parameters
        ----------
        x : (B, C, D, H, W) tensor
            Patches.
        location : (3,) or (M, 3) tensor
            Location codes; M divides B, and consecutive blocks of B / M patches share one location.

        Returns
        -------
        (B, out_channels, D', H', W') tensor

        Raises
        ------
        ValueError
            If M does not divide B.
        """
        return self.convolve(x, self.kernels(location.reshape(-1, 3)))

    def convolve(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Convolve (B, C, D, H, W) with kernels mixed before, (M, out, in, k, k, k), shared as by `forward`."""
        return _convolve(x, kernels, self.bias, self.stride, self.padding)

    def plain(self, kernels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernels, (M, out, in, k, k, k), and biases, (M, out), of M ordinary convolutions."""
        return kernels, self.bias.expand(len(kernels), -1)


class StaticConv3d(nn.Module):
    """A plain convolution with the interface of `LocCondConv3d`: the "no conditioning" of the paper's Table 6."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size, stride, padding)

    def kernels(self, locations: Tensor) -> Tensor:
        """Return the one kernel M times, (M, out, in, k, k, k), for the locations (M, 3); a view."""
        return self.conv.weight.expand(len(locations), *self.conv.weight.shape)

    def forward(self, x: Tensor, location: Tensor) -> Tensor:
        """Convolve (B, C, D, H, W) with the one kernel, whatever the location."""
        return self.conv(x)

    def convolve(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Convolve (B, C, D, H, W) with the one kernel, whatever was mixed."""
        return self.conv(x)

    def plain(self, kernels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernels, (M, out, in, k, k, k), and biases, (M, out), of M ordinary convolutions."""
        assert self.conv.bias is not None
        return kernels, self.conv.bias.expand(len(kernels), -1)


class JoinedConv3d(nn.Module):
    """A fully connected layer of the features joined with the location: the "concatenation" of the paper's Table 6.

    It is a convolution of kernel size 1. Of ``W [h, p] + b`` the location's share, ``W_p p + b``, is the same for
    all patches of a location.

    Parameters
    ----------
    in_channels, out_channels : int
        Lengths of the feature, without the location, and of the output.

    References
    ----------
    Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.4.1; Sun et al., "Context matters", AAAI 2021.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.joined = nn.Linear(in_channels + 3, out_channels)

    def kernels(self, locations: Tensor) -> Tensor:
        """Return the shares, (M, out), of the locations (M, 3) in the output."""
        return F.linear(locations, self.joined.weight[:, self.in_channels :], self.joined.bias)

    def convolve(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Convolve (B, C, D, H, W); consecutive blocks of B / M patches have one of the shares, (M, out)."""
        out = F.conv3d(x, self._feature_kernel())
        return out + kernels.repeat_interleave(_patches_each(x, kernels), dim=0)[:, :, None, None, None]

    def plain(self, kernels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernels, (M, out, in, 1, 1, 1), and biases, (M, out), of M ordinary convolutions."""
        kernel = self._feature_kernel()
        return kernel.expand(len(kernels), *kernel.shape), kernels

    def _feature_kernel(self) -> Tensor:
        return self.joined.weight[:, : self.in_channels, None, None, None]


class LocationEmbedding(nn.Sequential):
    """The trunk of the hypernetwork: fully connected layers from a location to a vector z of unit length.

    Parameters
    ----------
    dim : int
        Length of z and of the hidden layer.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(3, dim), nn.ELU(), nn.Linear(dim, dim))

    def forward(self, locations: Tensor) -> Tensor:
        """Return z, (M, dim), of the locations (M, 3)."""
        return F.normalize(super().forward(locations), dim=1)


class HyperConv3d(nn.Module):
    """3D convolution whose kernel a fully connected network writes: the "HyperNetwork" of the paper's Table 6.

    From the embedded location z a first layer makes a vector for each input channel, ``a_i = W_i z + B_i``; a second,
    which the input channels share, makes of each vector the kernels of that channel: ``K_i = V a_i``.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding : int
        As of `torch.nn.Conv3d`.
    embedding_dim : int
        Length of z.
    rank : int
        Length of each a_i.

    References
    ----------
    Ha et al., "HyperNetworks", ICLR 2017, section 3.1 (static hypernetworks); Yu et al., "DrasCLR", Medical Image
    Analysis 2024, section 4.4.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        embedding_dim: int = 64,
        rank: int = 64,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        self.shape = (out_channels, *[kernel_size] * 3)
        self.inner = nn.Linear(embedding_dim, in_channels * rank)
        self.outer = nn.Parameter(torch.empty(rank, math.prod(self.shape)))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters(in_channels)

    def reset_parameters(self, in_channels: int) -> None:
        """Give the kernel the variance of a plain convolution's, and a step of learning about the size of its step.

        z has unit length and a_i unit expected length, half of its square from the location and half from B_i. So an
        entry of the kernel has the variance of an entry of V, and changes with V as fast as a plain kernel would.
        """
        rank, outputs = self.outer.shape
        plain_bound = 1 / math.sqrt(in_channels * outputs / self.shape[0])
        for parameter in (self.inner.weight, self.inner.bias):
            nn.init.normal_(parameter, std=math.sqrt(0.5 / rank))
        nn.init.uniform_(self.outer, -plain_bound, plain_bound)
        nn.init.uniform_(self.bias, -plain_bound, plain_bound)

    def kernels(self, locations: Tensor) -> Tensor:
        """Return the kernels, (M, out, in, k, k, k), of the *embedded* locations (M, embedding_dim)."""
        rank = len(self.outer)
        by_input = self.inner(locations).unflatten(1, (-1, rank)) @ self.outer  # (M, in, out * k * k * k)
        return by_input.unflatten(2, self.shape).transpose(1, 2).contiguous()

    def convolve(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Convolve (B, C, D, H, W) with kernels (M, out, in, k, k, k), shared as by `LocCondConv3d.forward`."""
        return _convolve(x, kernels, self.bias, self.stride, self.padding)

    def plain(self, kernels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernels, (M, out, in, k, k, k), and biases, (M, out), of M ordinary convolutions."""
        return kernels, self.bias.expand(len(kernels), -1)


def _convolve(x: Tensor, kernels: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve (B, C, D, H, W), each of M consecutive blocks with one of the kernels (M, out, in, k, k, k)."""
    count, each = len(kernels), _patches_each(x, kernels)
    if count == 1:
        return F.conv3d(x, kernels.flatten(0, 1), bias, stride, padding)
    if each == 1:
        # One patch per location: a single grouped convolution, the patches side by side as channels.
        out = F.conv3d(x.flatten(0, 1)[None], kernels.flatten(0, 1), bias.repeat(count), stride, padding, 1, count)
        return out[0].unflatten(0, (count, -1))
    blocks = zip(x.split(each), kernels, strict=True)
    return torch.cat([F.conv3d(block, kernel, bias, stride, padding) for block, kernel in blocks])


def _patches_each(x: Tensor, of_locations: Tensor) -> int:
    """Return how many of the patches (B, ...) each location has, B / M; raise ValueError where it is no integer."""
    patches, count = len(x), len(of_locations)
    if patches % count:
        raise ValueError(f"{patches} patches cannot be shared evenly by {count} locations")
    return patches // count
