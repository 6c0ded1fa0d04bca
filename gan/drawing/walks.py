"""Walks through latent space between the images of seeds, and style mixing."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gan.drawing.sampling import draw_styles, latent, levels_8bit, sample_grid, styles, styles_of
from gan.networks.generator import Generator
from segkit.core.arrays import Pixels
from segkit.core.errors import RequestError

Space = Literal["w", "z"]

MAX_PIXELS = 500_000_000
"""Of all images of a walk or a grid together."""

# Karras 2019, section 3.1: which resolutions give pose and shape, features, colours and texture.
_LAYER_NAMES = {"coarse": (4, 8), "middle": (16, 32), "fine": (64, 1024)}


def slerp(a: Float[Tensor, "1 d"], b: Float[Tensor, "1 d"], t: float) -> Float[Tensor, "1 d"]:
    """From `a` (t = 0) to `b` (t = 1) along the great circle of their directions (Shoemake 1985).

    The length changes linearly. Between opposite directions, which have no unique great circle, the path is straight.
    """
    length_a, length_b = a.norm(), b.norm()
    direction_a, direction_b = a / length_a, b / length_b
    angle = torch.arccos((direction_a * direction_b).sum().clamp(-1, 1))
    if t in (0, 1) or angle.sin() < 1e-4:
        return a.lerp(b, t)
    direction = (((1 - t) * angle).sin() * direction_a + (t * angle).sin() * direction_b) / angle.sin()
    point: Tensor = direction * length_a.lerp(length_b, t)
    return point


Position = tuple[int, int, float]
"""First seed, last seed, and share of the path between them."""


def _pairs(seeds: Sequence[int], closed: bool) -> list[tuple[int, int]]:
    ends = [*seeds[1:], *(seeds[:1] if closed else ())]
    return list(zip(seeds, ends, strict=False))


def film_positions(seeds: Sequence[int], num_steps: int, closed: bool) -> list[Position]:
    """The frames of a walk through the images of seeds, `num_steps` from each to the next, without repeats.

    A closed walk returns to the first seed and ends one step before it, so that the film can loop.
    """
    steps = [(a, b, step / num_steps) for a, b in _pairs(seeds, closed) for step in range(num_steps)]
    return steps if closed else [*steps, (seeds[-1], seeds[-1], 0.0)]


def strip_positions(seeds: Sequence[int], num_steps: int, closed: bool) -> list[list[Position]]:
    """A row for each pair of successive seeds, both included."""
    return [[(a, b, step / num_steps) for step in range(num_steps + 1)] for a, b in _pairs(seeds, closed)]


def between(
    generator: Generator, first: int, last: int, t: float, space: Space = "w", truncation_psi: float = 1.0
) -> Float[Tensor, "1 num_ws w_dim"]:
    """The styles at share `t` of the path from one seed's image (0) to another's (1).

    The path is straight in W, where equal steps change the image about equally (Karras 2019, section 4.1), or a great
    circle in Z.
    """
    if space == "z":
        z = slerp(latent(first, generator.z_dim), latent(last, generator.z_dim), t)
        return styles_of(generator, z, truncation_psi)
    return styles(generator, first, truncation_psi).lerp(styles(generator, last, truncation_psi), t)


def mix(
    base: Float[Tensor, "1 num_ws w_dim"], other: Float[Tensor, "1 num_ws w_dim"], layers: Sequence[int]
) -> Float[Tensor, "1 num_ws w_dim"]:
    """The styles of `base`, with those of `layers` replaced by those of `other`."""
    ws = base.clone()
    ws[:, list(layers)] = other[:, list(layers)]
    return ws


def draw_walk(generator: Generator, positions: Iterable[Position], space: Space, truncation_psi: float) -> list[Pixels]:
    """The images (r, r, c) at positions of a walk."""
    return [
        levels_8bit(draw_styles(generator, between(generator, *position, space, truncation_psi)))
        for position in positions
    ]


def draw_mixtures(
    generator: Generator,
    rows: Sequence[int],
    columns: Sequence[int],
    layers: Sequence[int],
    truncation_psi: float,
    track: Callable[[Sequence[Tensor]], Iterable[Tensor]] = iter,
) -> Pixels:
    """A grid (h, w, 3 or 4) of style mixing; its first row and column show the images of the seeds themselves.

    Args:
        rows, columns: seeds.
        layers: the styles that come from the column's seed.
        track: yields the styles of each image and shows progress.
    """
    left, top = ([styles(generator, seed, truncation_psi) for seed in seeds] for seeds in (rows, columns))
    cells = [*top, *(cell for base in left for cell in (base, *(mix(base, other, layers) for other in top)))]
    pictures = [levels_8bit(draw_styles(generator, ws)) for ws in track(cells)]
    return sample_grid([np.zeros_like(pictures[0]), *pictures], num_columns=len(columns) + 1)


def check_num_images(num_images: int, resolution: int) -> None:
    """Refuse more images than fit into memory.

    Raises:
        RequestError: they have more than `MAX_PIXELS` pixels together.
    """
    if num_images * resolution**2 > MAX_PIXELS:
        raise RequestError(
            f"{num_images:,} images of {resolution}x{resolution} pixels are too many; the maximum is "
            f"{MAX_PIXELS // resolution**2:,}"
        )


def parse_layers(text: str, resolution: int) -> list[int]:
    """Numbers of styles: of "coarse" (4 to 8 pixels), "middle" (16 to 32) or "fine" (64 and up), or as in 0-3,6.

    Each resolution from 4 pixels up has two styles.

    Raises:
        RequestError: the text is something else, or a network of this resolution has no such style.
    """
    num_ws = 2 * (resolution.bit_length() - 2)
    if text in _LAYER_NAMES:
        lowest, highest = (2 * (edge.bit_length() - 3) for edge in _LAYER_NAMES[text])
        named = [layer for layer in range(lowest, highest + 2) if layer < num_ws]
        if not named:
            raise RequestError(
                f"{text} styles are those of {_LAYER_NAMES[text][0]} pixels and more; this network draws {resolution}"
            )
        return named
    if not re.fullmatch(r"\d{1,2}(-\d{1,2})?(,\d{1,2}(-\d{1,2})?)*", text):
        raise RequestError(f"layers {text!r} are neither coarse, middle or fine nor numbers as in 0-3,6")
    layers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise RequestError(f"layers {text!r}: {part!r} is reversed; write {last}-{first}")
        layers += range(int(first), int(last or first) + 1)
    if max(layers) >= num_ws:
        raise RequestError(f"layers {text!r}: a network of {resolution} pixels has the styles 0-{num_ws - 1}")
    return sorted(set(layers))
