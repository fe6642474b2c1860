"""Random views of patches, drawn and applied for a whole batch at once on the device.

Affine, then noise, then gamma (paper section 3); the ranges are settings. Applied to the same parameters, the result
equals MONAI's `RandAffine`, `RandGaussianNoise` and `RandAdjustContrast` on one patch after another.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from drasclr_core.config.settings import PretrainSettings


@dataclass(frozen=True)
class ViewParameters:
    """One random view of each of B patches.

    Attributes
    ----------
    affine : (B, 3, 4) float64 array
        Maps centred output voxels (z, y, x) to centred input voxels.
    noise_hu : (B,) float64 array
        Standard deviation of the noise; 0 for none.
    gamma : (B,) float64 array
        Exponent; 1 for none.
    """

    affine: np.ndarray
    noise_hu: np.ndarray
    gamma: np.ndarray


def draw_views(count: int, settings: PretrainSettings, spacing_mm: float, rng: np.random.Generator) -> ViewParameters:
    """Draw the parameters of `count` views of patches with voxels of `spacing_mm`, within the settings' ranges."""
    turn, shift = settings.view_rotation_deg * np.pi / 180, settings.view_shift_mm / spacing_mm
    rotation = rng.uniform(-turn, turn, (count, 3))
    translation = rng.uniform(-shift, shift, (count, 3))
    scale = 1 + rng.uniform(-settings.view_scale, settings.view_scale, (count, 3))
    noisy = rng.random(count) < settings.view_noise_probability
    noise_hu = rng.uniform(0, settings.view_noise_hu, count)
    contrasted = rng.random(count) < settings.view_gamma_probability
    gamma = rng.uniform(*settings.view_gamma, count)
    return ViewParameters(
        affine=compose_affine(rotation, translation, scale),
        noise_hu=np.where(noisy, noise_hu, 0.0),
        gamma=np.where(contrasted, gamma, 1.0),
    )


def compose_affine(rotation_rad: np.ndarray, translation_vox: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return rotation @ translation @ scale, (B, 3, 4), of three (B, 3) arrays over the array axes (z, y, x).

    The rotation turns about the first axis, then about the turned second, then about the turned third.
    """
    cos, sin = np.cos(rotation_rad), np.sin(rotation_rad)
    zero, one = np.zeros(len(cos)), np.ones(len(cos))

    def matrix(*rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        return np.stack([np.stack(row, axis=1) for row in rows], axis=1)

    first = matrix((one, zero, zero), (zero, cos[:, 0], -sin[:, 0]), (zero, sin[:, 0], cos[:, 0]))
    second = matrix((cos[:, 1], zero, sin[:, 1]), (zero, one, zero), (-sin[:, 1], zero, cos[:, 1]))
    third = matrix((cos[:, 2], -sin[:, 2], zero), (sin[:, 2], cos[:, 2], zero), (zero, zero, one))
    rotation = first @ second @ third
    return np.concatenate([rotation * scale[:, None, :], rotation @ translation_vox[:, :, None]], axis=2)


def apply_views(hu: Tensor, views: ViewParameters, noise: Tensor) -> Tensor:
    """Return the views, scaled for the encoder.

    Parameters
    ----------
    hu : (B, P, P, P) int16 tensor
        Patches in HU.
    views : ViewParameters
        Of B views.
    noise : (N, P, P, P) tensor
        Standard normal fields, one for each of the N views with `noise_hu` above 0, in their order.

    Returns
    -------
    (B, 1, P, P, P) tensor
        In [-1, 1] but for the noise, in the floating-point type of `noise`.
    """
    x = hu.to(noise.dtype).clamp_(-1024, 240).add_(1024)[:, None]
    x = F.grid_sample(x, _grid(views.affine, x), mode="bilinear", padding_mode="border", align_corners=False)
    noisy = np.flatnonzero(views.noise_hu)
    if len(noisy):
        x[noisy] += noise[:, None] * _column(views.noise_hu[noisy], x)
    contrasted = np.flatnonzero(views.gamma != 1)
    if len(contrasted):
        x[contrasted] = _adjust_contrast(x[contrasted], _column(views.gamma[contrasted], x))
    return x.div_(632).sub_(1)


def _grid(affine: np.ndarray, x: Tensor) -> Tensor:
    """Return the sampling grid, (B, P, P, P, 3), as `torch.nn.functional.affine_grid` would, by one product."""
    # torch orders coordinates (x, y, z) and spans the patch with [-1, 1].
    flipped = affine[:, ::-1, [2, 1, 0, 3]].copy()
    flipped[:, :, 3] *= 2 / x.shape[-1]
    theta = torch.from_numpy(flipped).to(x.device, x.dtype)
    shape = x.shape[2:]
    along = [(torch.arange(size, device=x.device, dtype=x.dtype) * 2 + 1) / size - 1 for size in shape]
    z, y, x_ = torch.meshgrid(*along, indexing="ij")
    points = torch.stack([x_, y, z, torch.ones_like(z)]).flatten(1)
    return (theta.flatten(0, 1) @ points).view(len(affine), 3, *shape).movedim(1, -1)


def _adjust_contrast(x: Tensor, gamma: Tensor) -> Tensor:
    low, high = (extreme(x, dim=(1, 2, 3, 4), keepdim=True) for extreme in (torch.amin, torch.amax))
    return ((x - low) / (high - low + 1e-7)) ** gamma * (high - low) + low


def _column(values: np.ndarray, x: Tensor) -> Tensor:
    return torch.from_numpy(values).to(x.device, x.dtype).view(-1, 1, 1, 1, 1)
