"""What the networks share: the convolution unit and the check of the image's size."""

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segkit.core.errors import RequestError
from segkit.models.batch_norm import GlobalBatchNorm2d
from segkit.models.dropblock import DropBlock2d

Norm = Literal["none", "batch", "group"]


def check_size(image: Float[Tensor, "n c h w"], stride: int) -> None:
    """Raise RequestError unless both sides of an image are multiples of the network's stride."""
    height, width = image.shape[-2:]
    if height % stride or width % stride:
        raise RequestError(
            f"{height}x{width} pixels do not fit the network: pad or cut them (crop_size, size, tile) "
            f"to multiples of {stride}"
        )


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Batch norm over the images of all ranks, group norm with up to eight groups, or none."""
    if kind == "none":
        return nn.Identity()
    return GlobalBatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(8, channels), channels)


def conv_unit(in_channels: int, out_channels: int, drop_prob: float, block_size: int, norm: Norm) -> nn.Sequential:
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
