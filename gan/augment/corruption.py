"""Corruption of pixels: additive noise and cutout (Karras 2020b, Appendix B)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gan.augment.draws import Column, Draws
from gan.augment.transfer import to_device_of


def noise_stds(std: float, p: float, draws: Draws) -> Float[Tensor, " n"]:
    """Standard deviation of each image's noise, |N(0, std)|, or 0."""
    amount = draws.normal[:, Column.NOISE, 0].abs() * std
    return torch.where(draws.chosen(Column.NOISE, p), amount, torch.zeros_like(amount))


def add_noise(
    images: Float[Tensor, "n c h w"], stds: Float[Tensor, " n"], seeds: Int[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Add normal noise to every channel of every pixel of the images whose standard deviation is not 0.

    An image's noise depends only on its own seed.
    """
    index = stds.nonzero()[:, 0]
    if not len(index):
        return images
    noise = images.new_empty(len(index), *images.shape[1:])
    generator = torch.Generator(images.device)
    for row, std, seed in zip(noise, stds[index].tolist(), seeds[index].tolist(), strict=True):
        row.normal_(std=std, generator=generator.manual_seed(seed))
    return images.index_add(0, to_device_of(images, index), noise)


def cutout_bounds(size: float, p: float, draws: Draws, edge: int) -> Int[Tensor, "n 2 2"]:
    """First pixel of the cutout and first one after it, along x and y: a square around a uniform position.

    Args:
        size: edge of the square as a share of the image's; the square is clipped at the border.
    """
    centre = draws.uniform[:, Column.CUTOUT, :, None]
    bounds = ((centre + torch.tensor([-size / 2, size / 2])) * edge).round().long()
    return torch.where(draws.chosen(Column.CUTOUT, p)[:, None, None], bounds, torch.zeros_like(bounds))


def cut_out(images: Float[Tensor, "n c r r"], bounds: Int[Tensor, "n 2 2"]) -> Float[Tensor, "n c r r"]:
    """Set the pixels within the bounds to 0, which is gray."""
    if not (bounds[:, :, 0] < bounds[:, :, 1]).any():
        return images
    pixels = torch.arange(images.shape[-1], device=images.device)
    first, end = to_device_of(images, bounds)[..., None].unbind(dim=2)
    within = (pixels >= first) & (pixels < end)  # along x and y
    return images.masked_fill((within[:, 1, :, None] & within[:, 0, None, :])[:, None], 0)
