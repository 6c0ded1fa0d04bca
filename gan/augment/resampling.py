"""Geometric transforms applied to pixels: once, with all of an image's multiplied into one matrix.

In the paper the borders are reflected as far as the transforms reach, the resolution is doubled (sym6), points between
the pixels are read bilinearly, and the resolution is halved. Reflecting the coordinates instead of the image spares the
wide borders, which are up to eight times as much to double as the image is, and reaches any distance. Where nothing is
mirrored the results are the same. In the mirrored parts the filter is mirrored too, which lets fine detail lie within a
fraction of a pixel of where the paper has it, as sym6 is not quite symmetric.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gan.augment.transfer import to_device_of
from gan.augment.wavelets import SYM6
from gan.ops import filter2d, grid_sample, spread2d

# The filter is not symmetric: its centre of mass lies this far from its middle, in doubled pixels. Doubling moves the
# picture by as much, and halving moves it back, but what happens in between has to know.
_LAG = sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6) - (len(SYM6) - 1) / 2
_REACH = 3  # source pixels that the 12 taps reach to either side at the doubled resolution


class _FastLayout(torch.autograd.Function):
    """Bring an image, and its gradient on the way back, into the layout for which the CPU's filters are written.

    oneDNN filters three channels about ten times as fast when they lie beside each other.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return _FastLayout.apply(grad_outputs[0])


def reflect(images: Float[Tensor, "n c h w"], width: int) -> Float[Tensor, "n c h2 w2"]:
    """Continue images beyond their borders by mirroring, as far as one likes; border pixels are not repeated."""
    while width > 0:
        step = min(width, min(images.shape[2:]) - 1)
        images = F.pad(images, [step] * 4, mode="reflect")
        width -= step
    return images


def _positions(
    matrices: Float[Tensor, "n 3 3"], edge: int, out_edge: int, images: Tensor
) -> Float[Tensor, "n out_edge out_edge 2"]:
    """Where each doubled output pixel is read, in doubled pixels from the image's centre, reflected into the image."""
    theta = matrices.double()[:, :2].clone()
    theta[:, :, 2] = 2 * theta[:, :, 2] + _LAG - _LAG * theta[:, :, :2].sum(dim=2)
    columns = to_device_of(images, theta)[:, :, :, None]
    steps = torch.arange(out_edge, device=images.device, dtype=images.dtype) - (out_edge - 1) / 2
    across, down = columns[:, :, 0] * steps, columns[:, :, 1] * steps + columns[:, :, 2]
    positions = across[:, :, None, :] + down[:, :, :, None]
    first, last = _LAG - (edge - 1), _LAG + (edge - 1)  # the middles of the border pixels: there the mirrors stand
    for _ in range(_num_reflections(matrices, edge)):
        positions.sub_(first).abs_().add_(first - last).abs_().neg_().add_(last)
    return positions.permute(0, 2, 3, 1)


def _num_reflections(matrices: Float[Tensor, "n 3 3"], edge: int) -> int:
    """How often the farthest point that any image reads has to be mirrored to lie inside."""
    half = edge / 2 + _REACH
    corners = torch.tensor([[x, y, 1] for x in (-half, half) for y in (-half, half)], dtype=torch.float64)
    farthest = (matrices.double() @ corners.t())[:, :2].abs().max().item()
    return max(math.ceil((farthest - (edge - 1) / 2) / (edge - 1)), 0)


def warp(
    images: Float[Tensor, "n c r r"], matrices: Float[Tensor, "n 3 3"], taps: Float[Tensor, " 12"]
) -> Float[Tensor, "n c r r"]:
    """Read each output pixel where its matrix says, through a filtered image of twice the resolution.

    Args:
        matrices: from output to input, in pixels from the image's centre; on the CPU.
        taps: low-pass filter (sym6) that sums to one.
    """
    edge = images.shape[-1]
    across, down = taps[None, :], taps[:, None]
    support = taps.numel() // 2 - 1
    x = _FastLayout.apply(reflect(images, _REACH))
    # the taps sum to 1: doubling each axis needs a gain of 2
    x = spread2d(x, 2 * across, stride=(1, 2), padding=(0, support))
    x = _FastLayout.apply(spread2d(x, 2 * down, stride=(2, 1), padding=(support, 0)))
    out_edge = 2 * edge + 2 * support  # what halving needs to come out at `edge` without borders of its own
    x = grid_sample(x, _positions(matrices, edge, out_edge, images) * (2 / x.shape[-1]))
    # correlation where doubling convolved, so that the two together shift nothing
    x = filter2d(_FastLayout.apply(x), across, stride=(1, 2))
    return _FastLayout.apply(filter2d(x, down, stride=(2, 1)))  # type: ignore[no-any-return]
