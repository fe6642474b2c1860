"""Convolutions whose kernels depend on where in the atlas the patch was cut."""

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
        count = len(kernels)
        if len(x) % count:
            raise ValueError(f"{len(x)} patches cannot be shared evenly by {count} locations")
        if count == 1:
            return self._convolve(x, kernels.flatten(0, 1))
        if count == len(x):
            # One patch per location: a single grouped convolution, the patches side by side as channels.
            bias = self.bias.repeat(count)
            out = F.conv3d(x.flatten(0, 1)[None], kernels.flatten(0, 1), bias, self.stride, self.padding, 1, count)
            return out[0].unflatten(0, (count, -1))
        blocks = zip(x.chunk(count), kernels, strict=True)
        return torch.cat([self._convolve(block, kernel) for block, kernel in blocks])

    def _convolve(self, x: Tensor, kernel: Tensor) -> Tensor:
        return F.conv3d(x, kernel, self.bias, self.stride, self.padding)


class StaticConv3d(nn.Module):
    """A plain convolution with the signature of `LocCondConv3d`: the "no conditioning" of the paper's Table 6."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size, stride, padding)

    @property
    def bias(self) -> Tensor | None:
        """The bias, (out,)."""
        return self.conv.bias

    def kernels(self, locations: Tensor) -> Tensor:
        """Return the one kernel M times, (M, out, in, k, k, k), for the locations (M, 3); a view."""
        return self.conv.weight.expand(len(locations), *self.conv.weight.shape)

    def forward(self, x: Tensor, location: Tensor) -> Tensor:
        """Convolve (B, C, D, H, W) with the one kernel, whatever the location."""
        return self.conv(x)

    def convolve(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Convolve (B, C, D, H, W) with the one kernel, whatever was mixed."""
        return self.conv(x)
