"""Amplification of frequency bands (Karras 2020b, Appendix B)."""

import torch
from jaxtyping import Float
from torch import Tensor

from gan.augment.draws import Column, Draws
from gan.augment.resampling import reflect
from gan.augment.transfer import to_device_of
from gan.augment.wavelets import NUM_BANDS
from gan.networks.ops import filter2d

# Distribution of the power of natural images over the bands, lowest first (1 / f).
_EXPECTED_POWER = torch.tensor([10, 1, 1, 1], dtype=torch.float64) / 13


def band_gains(std: float, p: float, draws: Draws) -> Float[Tensor, "n 4"]:
    """Gain of each band: each is amplified by 2^N(0, std) with chance p.

    After each amplification all four are divided by the root of the change in expected power, so images keep theirs.
    """
    gains = torch.ones(len(draws.apply), NUM_BANDS, dtype=torch.float64)
    if not std:
        return gains
    for band in range(NUM_BANDS):
        column = Column(Column.LOWEST_BAND + band)
        amplified = torch.ones_like(gains)
        amplified[:, band] = draws.power_of_two(column, std)
        amplified /= (_EXPECTED_POWER * amplified**2).sum(dim=1, keepdim=True).sqrt()
        gains = torch.where(draws.chosen(column, p)[:, None], gains * amplified, gains)
    return gains


def amplify(
    images: Float[Tensor, "n c h w"], gains: Float[Tensor, "n 4"], bank: Float[Tensor, "4 k"]
) -> Float[Tensor, "n c h w"]:
    """Filter rows and columns of each image by the bands of `bank`, multiplied by its gains and added up."""
    n, channels, height, width = images.shape
    kernels = (to_device_of(images, gains) @ bank).repeat_interleave(channels, dim=0)[:, None]
    # all channels of all images as the channels of one, since each image has a kernel of its own
    x = reflect(images, bank.shape[1] // 2).reshape(1, n * channels, -1, width + bank.shape[1] - 1)
    return filter2d(filter2d(x, kernels), kernels.mT).view(n, channels, height, width)
