"""Blocks that several networks share, and the check of the image's size."""

import math
from collections.abc import Callable
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from segkit.core.errors import RequestError
from segkit.models.batch_norm import GlobalBatchNorm2d
from segkit.models.dropblock import DropBlock2d
from segkit.models.settings import Norm, Upsampling, UShapedSettings

ConvUnit = Callable[[int, int], nn.Module]
"""Builds a convolution unit with these numbers of input and output channels."""


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


def conv_unit(
    in_channels: int,
    out_channels: int,
    drop_prob: float,
    block_size: int,
    norm: Norm,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """3x3 convolution, DropBlock, norm, activation: the unit of SD-UNet and SA-UNet (Guo 2021, Fig. 2).

    Without a norm, dropout before a ReLU equals dropout after it.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        DropBlock2d(drop_prob, block_size),
        norm_layer(norm, out_channels),
        activation(inplace=True),
    )


def conv_unit_of(settings: UShapedSettings, activation: type[nn.Module] = nn.ReLU) -> ConvUnit:
    """`conv_unit` with the dropout and the norm of a network's settings."""
    return partial(
        conv_unit,
        drop_prob=settings.drop_prob,
        block_size=settings.drop_block_size,
        norm=settings.norm,
        activation=activation,
    )


def double_conv(unit: ConvUnit, in_channels: int, out_channels: int) -> nn.Sequential:
    """Two convolution units in a row: one level of a U-Net."""
    return nn.Sequential(unit(in_channels, out_channels), unit(out_channels, out_channels))


def upsampling(kind: Upsampling, in_channels: int, out_channels: int) -> nn.Module:
    """Doubles both sides: a 2x2 transposed convolution, or bilinear interpolation and a 1x1 convolution."""
    if kind == "transposed":
        return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    interpolation = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(interpolation, nn.Conv2d(in_channels, out_channels, 1))


def init_like_keras(module: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases, the defaults the original SA-UNet was trained with."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_for_relu(module: nn.Module) -> None:
    """Normal kernels of variance 2 / fan in and zero biases (He 2015, Eq. 10; Ronneberger 2015, section 3)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
