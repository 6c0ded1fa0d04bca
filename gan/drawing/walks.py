"""Ways through latent space: walks between the images of seeds, and mixtures of their styles."""

import re
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gan.drawing.sampling import latent, styles, styles_of
from gan.networks.generator import Generator
from segkit.core.errors import RequestError

Space = Literal["w", "z"]

# Karras 2019, section 3.1: which resolutions give pose and shape, features, colours and texture.
_LAYER_NAMES = {"coarse": (4, 8), "middle": (16, 32), "fine": (64, 1024)}


def slerp(a: Float[Tensor, "1 d"], b: Float[Tensor, "1 d"], t: float) -> Float[Tensor, "1 d"]:
    """From `a` (t = 0) to `b` (t = 1) along the great circle of their directions (Shoemake 1985).

    The length changes evenly. Between opposite directions, which no one shortest way joins, it is straight.
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
"""From which seed, to which seed, and which share of the way."""


def _pairs(seeds: Sequence[int], closed: bool) -> list[tuple[int, int]]:
    ends = [*seeds[1:], *(seeds[:1] if closed else ())]
    return list(zip(seeds, ends, strict=False))


def film_positions(seeds: Sequence[int], num_steps: int, closed: bool) -> list[Position]:
    """The frames of a walk through the images of seeds, `num_steps` from each to the next, none of them twice.

    A closed walk goes back to the first seed and ends a step before it, so that it can be shown over and over.
    """
    steps = [(a, b, step / num_steps) for a, b in _pairs(seeds, closed) for step in range(num_steps)]
    return steps if closed else [*steps, (seeds[-1], seeds[-1], 0.0)]


def strip_positions(seeds: Sequence[int], num_steps: int, closed: bool) -> list[list[Position]]:
    """A row for each way from one seed's image to the next, both of them in it."""
    return [[(a, b, step / num_steps) for step in range(num_steps + 1)] for a, b in _pairs(seeds, closed)]


def between(
    generator: Generator, first: int, last: int, t: float, space: Space = "w", truncation_psi: float = 1.0
) -> Float[Tensor, "1 num_ws w_dim"]:
    """The styles at `t` of the way from one seed's image (0) to another's (1).

    The way is straight in W, where equal steps change the image about equally (Karras 2019, section 4.1), or a great
    circle in Z.
    """
    if space == "z":
        z = slerp(latent(first, generator.z_dim), latent(last, generator.z_dim), t)
        return styles_of(generator, z, truncation_psi)
    return styles(generator, first, truncation_psi).lerp(styles(generator, last, truncation_psi), t)


def mix(
    base: Float[Tensor, "1 num_ws w_dim"], other: Float[Tensor, "1 num_ws w_dim"], layers: Sequence[int]
) -> Float[Tensor, "1 num_ws w_dim"]:
    """The styles of `base`, those of `layers` taken from `other`."""
    ws = base.clone()
    ws[:, list(layers)] = other[:, list(layers)]
    return ws


def parse_layers(text: str, resolution: int) -> list[int]:
    """Numbers of styles from "coarse" (4 to 8 pixels), "middle" (16 to 32), "fine" (64 and up), or as in 0-3,6.

    Each resolution has two styles, beginning with 4 pixels.

    Raises:
        RequestError: the text is something else, or a network of this resolution has no such style.
    """
    num_ws = 2 * (resolution.bit_length() - 2)
    if text in _LAYER_NAMES:
        lowest, highest = (2 * (edge.bit_length() - 3) for edge in _LAYER_NAMES[text])
        found = [layer for layer in range(lowest, highest + 2) if layer < num_ws]
        if not found:
            raise RequestError(
                f"{text} styles are those of {_LAYER_NAMES[text][0]} pixels and more; this network draws {resolution}"
            )
        return found
    if not re.fullmatch(r"\d{1,2}(-\d{1,2})?(,\d{1,2}(-\d{1,2})?)*", text):
        raise RequestError(f"layers {text!r} are neither coarse, middle or fine nor numbers as in 0-3,6")
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise RequestError(f"layers {text!r}: {part!r} runs backwards; write {last}-{first}")
        found += range(int(first), int(last or first) + 1)
    if max(found) >= num_ws:
        raise RequestError(f"layers {text!r}: a network of {resolution} pixels has the styles 0-{num_ws - 1}")
    return sorted(set(found))
