"""Transforms of colour, as one matrix per image (Karras 2020b, Appendix B).

Colours are points in RGB space. The luma axis is its gray diagonal: brightness moves along it, saturation is the
distance from it and hue the angle around it.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gan.augment.draws import Column, Draws
from gan.augment.transfer import to_device_of


class Color(NamedTuple):
    """Strengths of the colour transforms; the default of each field disables it."""

    brightness_std: float = 0.0
    """Add N(0, this) to all channels, whose range is [-1, 1]."""
    contrast_std: float = 0.0
    """Multiply all channels by 2^N(0, this)."""
    luma_flip: bool = False
    """Invert luma and keep hue and saturation."""
    hue: float = 0.0
    """Rotate around the luma axis by up to this many degrees to either side."""
    saturation_std: float = 0.0
    """Multiply the distance from the luma axis by 2^N(0, this)."""


_LUMA = torch.tensor([1, 1, 1, 0], dtype=torch.float64) / math.sqrt(3)
_ONE = torch.diag(torch.tensor([0, 0, 0, 1], dtype=torch.float64))  # keeps the homogeneous coordinate
_ON_LUMA = torch.outer(_LUMA, _LUMA)  # projects a colour onto the luma axis
_OFF_LUMA = torch.eye(4, dtype=torch.float64) - _ON_LUMA - _ONE  # the rest of it: hue and saturation
_CROSS_LUMA = torch.zeros(4, 4, dtype=torch.float64)  # luma axis x colour: the rest, turned by 90 degrees
_CROSS_LUMA[:3, :3] = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / math.sqrt(3)


def brightness(added: Float[Tensor, " n"]) -> Float[Tensor, "n 4 4"]:
    """Homogeneous matrices that add to all channels."""
    matrix = torch.eye(4, dtype=added.dtype).repeat(len(added), 1, 1)
    matrix[:, :3, 3] = added[:, None]
    return matrix


def contrast(factor: Float[Tensor, " n"]) -> Float[Tensor, "n 4 4"]:
    """Homogeneous matrices that multiply all channels."""
    return _times(factor, _ON_LUMA + _OFF_LUMA) + _ONE


def luma_flip(flipped: Float[Tensor, " n"]) -> Float[Tensor, "n 4 4"]:
    """Householder reflections along the luma axis, I - 2 v v^T, where `flipped` is 1; the identity where it is 0."""
    return torch.eye(4, dtype=flipped.dtype) - _times(2 * flipped, _ON_LUMA)


def hue(theta: Float[Tensor, " n"]) -> Float[Tensor, "n 4 4"]:
    """Rotations about the luma axis by theta radians, from red through green to blue (Rodrigues' formula)."""
    return _ON_LUMA + _times(theta.cos(), _OFF_LUMA) + _times(theta.sin(), _CROSS_LUMA) + _ONE


def saturation(factor: Float[Tensor, " n"]) -> Float[Tensor, "n 4 4"]:
    """Homogeneous matrices that multiply the distance from the luma axis."""
    return _ON_LUMA + _times(factor, _OFF_LUMA) + _ONE


def _times(factors: Tensor, matrix: Tensor) -> Tensor:
    return factors[:, None, None] * matrix


def color_matrices(color: Color, p: float, draws: Draws, num_channels: int) -> Float[Tensor, "n 4 4"]:
    """Matrices on colours (r, g, b, 1): the transforms multiplied in the order of the paper.

    Images of one channel are gray and have neither hue nor saturation.
    """
    result = torch.eye(4, dtype=torch.float64).expand(len(draws.apply), 4, 4)
    if color.brightness_std:
        added = draws.normal[:, Column.BRIGHTNESS, 0] * color.brightness_std
        result = draws.only(Column.BRIGHTNESS, p, brightness(added)) @ result
    if color.contrast_std:
        factor = draws.power_of_two(Column.CONTRAST, color.contrast_std)
        result = draws.only(Column.CONTRAST, p, contrast(factor)) @ result
    if color.luma_flip:
        result = draws.only(Column.LUMA_FLIP, p, luma_flip(draws.state(Column.LUMA_FLIP, 2))) @ result
    if color.hue and num_channels > 1:
        theta = draws.symmetric(Column.HUE, math.radians(color.hue))[:, 0]
        result = draws.only(Column.HUE, p, hue(theta)) @ result
    if color.saturation_std and num_channels > 1:
        factor = draws.power_of_two(Column.SATURATION, color.saturation_std)
        result = draws.only(Column.SATURATION, p, saturation(factor)) @ result
    return result


def recolor(images: Float[Tensor, "n c h w"], matrices: Float[Tensor, "n 4 4"]) -> Float[Tensor, "n c h w"]:
    """Apply each image's matrix to its colours; a gray image is transformed as RGB and the channels are averaged.

    Raises:
        ValueError: the images have neither one nor three channels.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"images of {channels} channels have no colours to transform; RGB has 3 and gray 1")
    mix, added = matrices[:, :3, :3], matrices[:, :3, 3:]
    if channels == 1:
        mix, added = mix.sum(dim=(1, 2), keepdim=True) / 3, added.mean(dim=1, keepdim=True)
    colors = torch.baddbmm(to_device_of(images, added), to_device_of(images, mix), images.flatten(2))
    return colors.view(images.shape)
