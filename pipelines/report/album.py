"""Pictures of the report: overlays of predictions, and all pictures as data URIs within a budget of bytes."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from segkit.core.arrays import Bools, Pixels
from segkit.core.images import encode_image, from_unit
from segkit.tasks.overlay import dimmed

MAX_SIDE = 600
"""Largest side of a picture in pixels; DRIVE's images fit at full size."""

BUDGET_BYTES = 5_000_000
"""Encoded bytes of all pictures together; base64 adds a third, so a page has less than 10 MB."""

TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = (168, 236, 212), (238, 92, 16), (58, 122, 255)
"""Colours that differ in lightness as well as in hue, for colour-blind readers and grey prints."""


def overlay(image: Pixels, prediction: Bools, labels: Bools, region: Bools) -> Pixels:
    """The photograph in dimmed grey with true and false positives and false negatives coloured inside `region`.

    The image is (h, w, 3), all maps are (h, w); pixels outside `region` are not scored.

    Returns:
        (h, w, 3); true negatives keep the photograph's grey.
    """
    shown = dimmed(image)
    for where, colour in (
        (prediction & labels, TRUE_POSITIVE),
        (prediction & ~labels, FALSE_POSITIVE),
        (~prediction & labels, FALSE_NEGATIVE),
    ):
        shown[where & region] = colour
    return shown


def grey(probs: npt.NDArray[np.floating]) -> Pixels:
    """Probabilities (h, w) in [0, 1] as a grey picture (h, w, 3), white where the class is certain."""
    return np.repeat(from_unit(probs)[..., None], 3, axis=2)


def shrink(image: Pixels, max_side: int) -> Pixels:
    """The picture with its longer side at most `max_side`, its shape kept; never enlarged."""
    height, width = image.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX, reducing_gap=None))


def evenly_spaced(ranked: Sequence[str], count: int) -> list[str]:
    """`count` evenly spaced items, including the first and the last if `count` is at least two."""
    if count >= len(ranked):
        return list(ranked)
    if count < 2:
        return list(ranked[:count])
    return [ranked[round(index * (len(ranked) - 1) / (count - 1))] for index in range(count)]


def data_uri(file: bytes, kind: Literal["jpeg", "png"]) -> str:
    """An image file as an address that a page embeds."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


@dataclass(frozen=True)
class Picture:
    """A picture of the album with its texts."""

    number: int
    """In the album."""
    alt: str
    caption: str = ""
    note: str = ""


@dataclass(frozen=True)
class Encoded:
    """A picture as the page embeds it."""

    uri: str
    width: int
    height: int


@dataclass
class Album:
    """Collects pictures, then encodes them all at the largest size that fits the budget."""

    budget_bytes: int = BUDGET_BYTES
    _pictures: list[Pixels] = field(default_factory=list)

    def add(self, image: Pixels, alt: str, caption: str = "", note: str = "", max_side: int = MAX_SIDE) -> Picture:
        """Keep a picture (h, w, 3), its longer side at most `max_side`."""
        self._pictures.append(shrink(image, max_side))
        return Picture(len(self._pictures) - 1, alt, caption, note)

    def encode(self) -> list[Encoded]:
        """Every picture by its number."""
        pictures = self._pictures
        files = [encode_image(picture, ".jpg") for picture in pictures]
        while (total := sum(map(len, files))) > self.budget_bytes:
            longest = max(max(picture.shape[:2]) for picture in pictures)
            smaller = min(longest - 1, int(longest * 0.95 * math.sqrt(self.budget_bytes / total)))
            if smaller < 1:
                break
            pictures = [shrink(picture, smaller) for picture in pictures]
            files = [encode_image(picture, ".jpg") for picture in pictures]
        return [
            Encoded(data_uri(file, "jpeg"), picture.shape[1], picture.shape[0])
            for picture, file in zip(pictures, files, strict=True)
        ]
