"""Resampling of images by one matrix each, the product of all geometric transforms.

Borders are reflected, the resolution is doubled (sym6), points between pixels are interpolated bilinearly, and the
resolution is halved (Karras 2020b, Appendix B). The reflected plane is periodic, so a border of half an edge suffices:
positions farther away are wrapped into it.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gan.augment.transfer import to_device_of
from gan.networks.autograd import Context, Gradients
from gan.networks.ops import filter2d, filter2d_adjoint, grid_sample

# sym6 is not symmetric: its centre of mass lies 0.40 doubled pixels before its middle, so doubling shifts the image by
# 0.40. The official code corrects the shift by 0.5 doubled pixels, and so does this one. Mirrored and turned images are
# therefore a tenth of a pixel off.
_LAG = -0.5
_REACH = 3  # source pixels that the 12 taps reach to either side at the doubled resolution


class _FastLayout(torch.autograd.Function):
    """Convert an image, and its gradient in backward, to the layout of the CPU's fast filters.

    oneDNN filters three channels about ten times as fast in channels-last layout.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x.view_as(x)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        return (_FastLayout.apply(grad_outputs[0]),)


def reflect(images: Float[Tensor, "n c h w"], width: int) -> Float[Tensor, "n c h2 w2"]:
    """Extend images beyond their borders by reflection, by any width; border pixels are not repeated."""
    while width > 0:
        step = min(width, min(images.shape[2:]) - 1)
        images = F.pad(images, [step] * 4, mode="reflect")
        width -= step
    return images


def _farthest(matrices: Float[Tensor, "n 3 3"], edge: int) -> float:
    """Largest distance in pixels, along x or y, from the centre to any sampled position."""
    half = edge / 2 + _REACH
    corners = torch.tensor([[x, y, 1] for x in (-half, half) for y in (-half, half)], dtype=torch.float64)
    return (matrices.double() @ corners.t())[:, :2].abs().max().item()


def _positions(
    matrices: Float[Tensor, "n 3 3"], out_edge: int, images: Tensor
) -> Float[Tensor, "n out_edge out_edge 2"]:
    """Sampling position of each output pixel at the doubled resolution, in its pixels from the image's centre."""
    theta = matrices.double()[:, :2].clone()
    theta[:, :, 2] = 2 * theta[:, :, 2] + _LAG - _LAG * theta[:, :, :2].sum(dim=2)
    columns = to_device_of(images, theta)[:, :, :, None]
    steps = torch.arange(out_edge, device=images.device, dtype=images.dtype) - (out_edge - 1) / 2
    across, down = columns[:, :, 0] * steps, columns[:, :, 1] * steps + columns[:, :, 2]
    return (across[:, :, None, :] + down[:, :, :, None]).permute(0, 2, 3, 1)


def warp(
    images: Float[Tensor, "n c r r"], matrices: Float[Tensor, "n 3 3"], taps: Float[Tensor, " 12"]
) -> Float[Tensor, "n c r r"]:
    """Interpolate each output pixel at its matrix's position in a filtered image of twice the resolution.

    Args:
        matrices: from output to input, in pixels from the image's centre; on the CPU.
        taps: low-pass filter (sym6) that sums to one.
    """
    edge = images.shape[-1]
    across, down = taps[None, :], taps[:, None]
    support = taps.numel() // 2 - 1
    beyond = math.ceil(_farthest(matrices, edge) - edge / 2)
    x = _FastLayout.apply(reflect(images, min(max(beyond, 0), edge // 2) + _REACH))
    # the taps sum to 1: doubling each axis needs a gain of 2
    x = filter2d_adjoint(x, 2 * across, stride=(1, 2), padding=(0, support))
    x = _FastLayout.apply(filter2d_adjoint(x, 2 * down, stride=(2, 1), padding=(support, 0)))
    out_edge = 2 * edge + 2 * support  # halving without padding gives `edge`
    positions = _positions(matrices, out_edge, images)
    if beyond > edge // 2:
        half_period = 2 * (edge - 1)  # border pixels are not repeated
        positions = (positions + half_period).remainder(2 * half_period) - half_period
    x = grid_sample(x, positions * (2 / x.shape[-1]))
    # correlation, while doubling convolved, so both together cause no shift
    x = filter2d(_FastLayout.apply(x), across, stride=(1, 2))
    warped: Tensor = _FastLayout.apply(filter2d(x, down, stride=(2, 1)))
    return warped
