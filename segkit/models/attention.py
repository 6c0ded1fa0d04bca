"""Attention blocks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from segkit.models.settings import Attention


class SpatialAttention(nn.Module):
    """Weighs each position by its channel mean and maximum (Woo 2018, CBAM, Eq. 3; Guo 2021, section II-C)."""

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        pooled = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], 1)
        gate: Tensor = self.conv(pooled).sigmoid()
        return features * gate


class CrossScaleAttention(nn.Module):
    """Weighs each position of a skip connection by the channel means of itself and of the upsampled map (Guo 2025)."""

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, skip: Float[Tensor, "n c h w"], up: Float[Tensor, "n d h w"]) -> Float[Tensor, "n c h w"]:
        means = torch.cat([skip.mean(1, keepdim=True), up.mean(1, keepdim=True)], 1)
        gate: Tensor = self.conv(means).sigmoid()
        return skip * gate


class SelfAttention(nn.Module):
    """Adds to each position a weighted mean over all positions (Zhang 2019, SAGAN, Eq. 1 to 3).

    The products of queries and keys are not scaled. `gamma`, the weight of the sum, starts at 0: the layer begins as
    the identity. Time grows with the square of the number of positions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query, self.key, self.value = (spectral_norm(nn.Conv2d(channels, inner, 1, bias=False)) for _ in range(3))
        self.out = spectral_norm(nn.Conv2d(inner, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        query, key, value = (
            layer(features).flatten(2).transpose(1, 2)[:, None] for layer in (self.query, self.key, self.value)
        )
        mean = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        attended: Tensor = self.out(mean[:, 0].transpose(1, 2).unflatten(2, features.shape[2:]))
        return features + self.gamma * attended


class AdditiveGate(nn.Module):
    """The attention gate of Attention U-Net (Oktay 2018, Eq. 1 and 2, Fig. 2).

    The skip connection, reduced to the grid of the coarser map, and the coarser map itself are projected to a common
    number of channels and added. ReLU, a 1x1 convolution, and a sigmoid make one weight per position, which is
    interpolated to the grid of the skip connection.
    """

    def __init__(self, skip_channels: int, coarse_channels: int) -> None:
        super().__init__()
        inner = max(1, skip_channels // 2)
        self.skip = nn.Conv2d(skip_channels, inner, 2, stride=2, bias=False)
        self.coarse = nn.Conv2d(coarse_channels, inner, 1)
        self.psi = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Float[Tensor, "n c h w"], coarse: Float[Tensor, "n d h2 w2"]) -> Float[Tensor, "n c h w"]:
        weight = self.psi((self.skip(skip) + self.coarse(coarse)).relu()).sigmoid()
        return skip * F.interpolate(weight, skip.shape[-2:], mode="bilinear", align_corners=False)


class PointwiseGate(nn.Module):
    """Weighs each position of a skip connection by the sigmoid of a 1x1 convolution of the skip connection itself."""

    def __init__(self, skip_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(skip_channels, 1, 1)

    def forward(self, skip: Float[Tensor, "n c h w"], coarse: Float[Tensor, "n d h2 w2"]) -> Float[Tensor, "n c h w"]:
        gate: Tensor = self.conv(skip).sigmoid()
        return skip * gate


class OpenGate(nn.Module):
    """Returns the skip connection unchanged."""

    def forward(self, skip: Float[Tensor, "n c h w"], coarse: Float[Tensor, "n d h2 w2"]) -> Float[Tensor, "n c h w"]:
        return skip


def attention_gate(kind: Attention, skip_channels: int, coarse_channels: int) -> nn.Module:
    """A gate, called with a skip connection (n, c, h, w) and the next coarser map (n, d, h/2, w/2)."""
    if kind == "additive":
        return AdditiveGate(skip_channels, coarse_channels)
    return PointwiseGate(skip_channels) if kind == "pointwise" else OpenGate()
