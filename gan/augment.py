"""Augmentation of what the discriminator sees (Karras 2020b, Appendix B).

The random numbers come from outside and the matrices are pure functions of them, so a step can be repeated exactly and
every transform can be checked. The geometric part is executed once, with all its transforms multiplied into one matrix:
reflect the borders, double the resolution (sym6 low-pass), sample bilinearly, halve the resolution.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gan.ops import filter2d, grid_sample, spread2d

# Low-pass decomposition filter of the symlet with six vanishing moments (Daubechies 1992), scaled to sum to sqrt(2).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# The filter is not symmetric: its centre of mass lies this far from its middle, in doubled pixels. Doubling moves the
# picture by as much, and halving moves it back, but what happens in between has to know.
_LAG = sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6) - (len(SYM6) - 1) / 2
_HALF_SUPPORT = 3  # source pixels that the 12 taps reach to either side at the doubled resolution


class Geometry(NamedTuple):
    """Which geometric transforms there are and how far each goes; the default of each field leaves it out."""

    x_flip: bool = False
    """Mirror left and right."""
    quarter_turns: bool = False
    """Rotate by a multiple of 90 degrees."""
    whole_shift: float = 0.0
    """Shift by whole pixels, up to this share of the edge to either side."""
    scale_std: float = 0.0
    """Scale by 2^N(0, this) in both directions."""
    turn: float = 0.0
    """Rotate by up to this many degrees to either side."""
    stretch_std: float = 0.0
    """Scale by 2^N(0, this) in one direction and by its inverse in the other."""
    shift_std: float = 0.0
    """Shift by N(0, this) of the edge."""


_BLIT = Geometry(x_flip=True, quarter_turns=True, whole_shift=0.125)
_GEOM = Geometry(scale_std=0.2, turn=180.0, stretch_std=0.2, shift_std=0.125)
GEOMETRIES: dict[str, Geometry] = {
    "blit": _BLIT,
    "geom": _GEOM,
    "bg": _GEOM._replace(x_flip=True, quarter_turns=True, whole_shift=0.125),
    "fundus": Geometry(x_flip=True, scale_std=0.08, turn=15.0, shift_std=0.03),
}


class Draws(NamedTuple):
    """Random numbers of one batch, one row per image; columns in the order of `geometry_matrices`."""

    apply: Float[Tensor, "n 8"]
    """Uniform: a transform is applied where this lies below its chance."""
    uniform: Float[Tensor, "n 8 2"]
    """Uniform in [0, 1): how far, for transforms with even amounts."""
    normal: Float[Tensor, "n 8 2"]
    """Standard normal: how far, for the others."""

    def share(self, part: slice) -> "Draws":
        """The rows of some of the images."""
        return Draws(*(column[part] for column in self))


def draw(num_images: int, rng: torch.Generator) -> Draws:
    """Draw for a batch from a generator on the CPU."""
    apply = torch.rand(num_images, 8, generator=rng, dtype=torch.float64)
    uniform = torch.rand(num_images, 8, 2, generator=rng, dtype=torch.float64)
    return Draws(apply, uniform, torch.randn(num_images, 8, 2, generator=rng, dtype=torch.float64))


def translation(tx: Float[Tensor, " n"], ty: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Homogeneous 2-D matrices that add (tx, ty)."""
    matrix = torch.eye(3, dtype=tx.dtype).repeat(len(tx), 1, 1)
    matrix[:, 0, 2], matrix[:, 1, 2] = tx, ty
    return matrix


def scaling(sx: Float[Tensor, " n"], sy: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Homogeneous 2-D matrices that multiply x by sx and y by sy."""
    return torch.diag_embed(torch.stack([sx, sy, torch.ones_like(sx)], dim=1))


def rotation(theta: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Homogeneous 2-D matrices that turn by theta radians, from the x axis towards the y axis."""
    matrix = torch.eye(3, dtype=theta.dtype).repeat(len(theta), 1, 1)
    cosine, sine = theta.cos(), theta.sin()
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cosine, -sine, sine, cosine
    return matrix


def geometry_matrices(geometry: Geometry, p: float, draws: Draws, edge: int) -> Float[Tensor, "n 3 3"]:
    """Where each output pixel is read from: matrices from output to input, in pixels from the image's centre.

    Transforms in the order of the paper; turns happen before and after stretching, each with chance 1 - sqrt(1 - p), so
    that an image is turned at all with chance p.
    """
    apply, uniform, normal = draws
    identity = torch.eye(3, dtype=apply.dtype).expand(len(apply), 3, 3)
    half_turns = 1 - math.sqrt(1 - p)

    def chosen(column: int, chance: float, inverse: Tensor) -> Tensor:
        return torch.where((apply[:, column] < chance)[:, None, None], inverse, identity)

    def turned(column: int) -> Tensor:
        theta = (uniform[:, column, 0] * 2 - 1) * math.radians(geometry.turn)
        return chosen(column, half_turns, rotation(-theta))

    result = identity
    if geometry.x_flip:  # of two equally likely states, so that chance p flips p / 2 of the images
        mirror = 1 - 2 * (uniform[:, 0, 0] * 2).floor()
        result = result @ chosen(0, p, scaling(mirror, torch.ones_like(mirror)))
    if geometry.quarter_turns:
        quarters = (uniform[:, 1, 0] * 4).floor()
        result = result @ chosen(1, p, rotation(-math.pi / 2 * quarters).round())
    if geometry.whole_shift:
        shift = ((uniform[:, 2] * 2 - 1) * geometry.whole_shift * edge).round()
        result = result @ chosen(2, p, translation(-shift[:, 0], -shift[:, 1]))
    if geometry.scale_std:
        scale = torch.exp2(-normal[:, 3, 0] * geometry.scale_std)
        result = result @ chosen(3, p, scaling(scale, scale))
    if geometry.turn:
        result = result @ turned(4)
    if geometry.stretch_std:
        stretch = torch.exp2(-normal[:, 5, 0] * geometry.stretch_std)
        result = result @ chosen(5, p, scaling(stretch, 1 / stretch))
    if geometry.turn:
        result = result @ turned(6)
    if geometry.shift_std:
        shift = normal[:, 7] * geometry.shift_std * edge
        result = result @ chosen(7, p, translation(-shift[:, 0], -shift[:, 1]))
    return result


def _reach(matrices: Tensor, edge: int) -> int:
    """Pixels beyond the border that any image reads from; at most what one reflection can give."""
    half = edge / 2 + _HALF_SUPPORT
    corners = torch.tensor([[x, y, 1] for x in (-half, half) for y in (-half, half)], dtype=torch.float64)
    farthest = (matrices.double() @ corners.t())[:, :2].abs().max().item()
    return min(max(math.ceil(farthest - edge / 2) + _HALF_SUPPORT, 0), edge - 1)


def warp(
    images: Float[Tensor, "n c r r"], matrices: Float[Tensor, "n 3 3"], taps: Float[Tensor, " 12"]
) -> Float[Tensor, "n c r r"]:
    """Read each output pixel where its matrix says, through a filtered image of twice the resolution."""
    n, channels, edge, _ = images.shape
    reach = _reach(matrices, edge)
    x = F.pad(images, [reach] * 4, mode="reflect")
    across, down = taps[None, :], taps[:, None]
    support = taps.numel() // 2 - 1
    # the taps sum to 1: doubling each axis needs a gain of 2
    x = spread2d(x, 2 * across, stride=(1, 2), padding=(0, support))
    x = spread2d(x, 2 * down, stride=(2, 1), padding=(support, 0))
    out_edge = 2 * edge + 2 * support  # what halving needs to come out at `edge` without borders of its own
    # pixels -> doubled pixels -> normalised coordinates, all from the image's centre
    theta = matrices.double().clone()
    theta[:, :2, 2] = 2 * theta[:, :2, 2] + _LAG - _LAG * theta[:, :2, :2].sum(dim=2)
    theta[:, :2, :2] *= out_edge / x.shape[-1]
    theta[:, :2, 2] *= 2 / x.shape[-1]
    grid = F.affine_grid(theta[:, :2].to(x), [n, channels, out_edge, out_edge], align_corners=False)
    x = grid_sample(x, grid)
    # correlation where doubling convolved, so that the two together shift nothing
    return filter2d(filter2d(x, across, stride=(1, 2)), down, stride=(2, 1))


class AugmentPipe(nn.Module):
    """The transforms of a preset, each applied with chance `p`, which is part of a checkpoint."""

    p: Tensor
    Hz_geom: Tensor

    def __init__(self, transforms: str, p: float = 0.0) -> None:
        super().__init__()
        self.geometry = GEOMETRIES[transforms]
        self.register_buffer("p", torch.zeros([]))
        self.register_buffer("Hz_geom", torch.tensor(SYM6, dtype=torch.float64).div(sum(SYM6)).float())
        self.chance = 0.0  # p as a number, so that using it never waits for a device
        self.set_p(p)
        self.register_load_state_dict_post_hook(lambda module, _: module.set_p(float(module.p)))

    def set_p(self, p: float) -> None:
        """Set the chance of each transform, in [0, 1]."""
        self.p.fill_(p)
        self.chance = torch.tensor(p, dtype=torch.float32).item()  # as the buffer holds it: a resumed run sees the same

    def forward(self, images: Float[Tensor, "n c r r"], draws: Draws) -> Float[Tensor, "n c r r"]:
        """Augment; images that no transform was drawn for pass through untouched."""
        matrices = geometry_matrices(self.geometry, self.chance, draws, images.shape[-1])
        moved = (matrices != torch.eye(3, dtype=matrices.dtype)).flatten(1).any(dim=1)
        if not moved.any():
            return images
        if moved.all():
            return warp(images, matrices, self.Hz_geom)
        index = moved.nonzero().squeeze(1)
        warped = warp(images[index], matrices[index], self.Hz_geom)
        return images.index_copy(0, index.to(images.device), warped)
