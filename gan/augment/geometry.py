"""Pixel blitting and general geometric transforms, as one matrix per image (Karras 2020b, Appendix B)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gan.augment.draws import Column, Draws


class Geometry(NamedTuple):
    """Strengths of the geometric transforms; the default of each field disables it."""

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
    """Matrices from output to input positions, in pixels from the image's centre.

    The order is the paper's; rotations come before and after stretching, each with chance 1 - sqrt(1 - p), so an image
    is rotated with chance p.
    """
    half_turns = 1 - math.sqrt(1 - p)

    def turned(column: Column) -> Tensor:
        return draws.only(column, half_turns, rotation(draws.symmetric(column, math.radians(geometry.turn))[:, 0]))

    result = torch.eye(3, dtype=torch.float64).expand(len(draws.apply), 3, 3)
    if geometry.x_flip:  # of two equally likely states: chance p flips p / 2 of the images
        mirror = 1 - 2 * draws.state(Column.X_FLIP, 2)
        result = result @ draws.only(Column.X_FLIP, p, scaling(mirror, torch.ones_like(mirror)))
    if geometry.quarter_turns:
        quarters = draws.state(Column.QUARTER_TURNS, 4)
        result = result @ draws.only(Column.QUARTER_TURNS, p, rotation(math.pi / 2 * quarters).round())
    if geometry.whole_shift:
        shift = (draws.symmetric(Column.WHOLE_SHIFT, geometry.whole_shift) * edge).round()
        result = result @ draws.only(Column.WHOLE_SHIFT, p, translation(-shift[:, 0], -shift[:, 1]))
    if geometry.scale_std:
        scale = draws.power_of_two(Column.SCALE, -geometry.scale_std)
        result = result @ draws.only(Column.SCALE, p, scaling(scale, scale))
    if geometry.turn:
        result = result @ turned(Column.FIRST_TURN)
    if geometry.stretch_std:
        stretch = draws.power_of_two(Column.STRETCH, -geometry.stretch_std)
        result = result @ draws.only(Column.STRETCH, p, scaling(stretch, 1 / stretch))
    if geometry.turn:
        result = result @ turned(Column.SECOND_TURN)
    if geometry.shift_std:
        shift = draws.normal[:, Column.SHIFT] * geometry.shift_std * edge
        result = result @ draws.only(Column.SHIFT, p, translation(-shift[:, 0], -shift[:, 1]))
    return result
