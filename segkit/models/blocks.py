"""The convolution unit the networks share."""

import math
from typing import Literal

from torch import nn

from segkit.models.batch_norm import GlobalBatchNorm2d
from segkit.models.dropblock import DropBlock2d


def norm_layer(kind: Literal["batch", "group"], channels: int) -> nn.Module:
    """Batch norm over the images of all ranks, or group norm with up to eight groups."""
    return GlobalBatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(8, channels), channels)


def conv_unit(
    in_channels: int, out_channels: int, drop_prob: float, block_size: int, norm: Literal["batch", "group"]
) -> nn.Sequential:
    """3x3 convolution, DropBlock, norm, ReLU: the unit of SD-UNet and SA-UNet (Guo 2021, Fig. 2)."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return nn.Sequential(
        conv, DropBlock2d(drop_prob, block_size), norm_layer(norm, out_channels), nn.ReLU(inplace=True)
    )


def init_like_keras(module: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases, the defaults the original SA-UNet was trained with."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
