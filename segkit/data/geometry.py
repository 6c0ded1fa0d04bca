"""Conversion of images to a network's input size, and of its probabilities back to the image's size.

`pad` pads to a multiple of the network's stride, and cropping restores the size exactly; `resize` scales to a given
size. Padding is never field of view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from segkit.core.arrays import Bools, Floats, Pixels
from segkit.data.settings import GeometrySettings

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Geometry:
    """The source is centred on a zero-padded frame, and the frame is scaled to the network's size."""

    height: int
    """Of the source image."""
    width: int
    frame_height: int
    """Of the source with its padding; an odd pixel is added at the bottom and right."""
    frame_width: int
    out_height: int
    """Of the network's input; equal to the frame's if nothing is scaled."""
    out_width: int

    def __post_init__(self) -> None:
        sizes = (self.height, self.width, self.out_height, self.out_width)
        if min(sizes) < 1 or self.frame_height < self.height or self.frame_width < self.width:
            raise ValueError(f"not a geometry: {self}")

    @classmethod
    def plan(cls, settings: GeometrySettings, height: int, width: int, stride: int) -> "Geometry":
        """The geometry of the settings; `stride` is used by mode `pad`."""
        if settings.mode == "resize":
            assert settings.size is not None  # checked by the settings
            return cls.resize(height, width, settings.size, settings.size)
        return cls.pad(height, width, stride, settings.size or 1)

    @classmethod
    def pad(cls, height: int, width: int, stride: int, size: int = 1) -> "Geometry":
        """Pad to the next multiple of `stride`, of sides of at least `size`; nothing is scaled."""
        tall, wide = (-(-max(side, size) // stride) * stride for side in (height, width))
        return cls(height, width, tall, wide, tall, wide)

    @classmethod
    def resize(cls, height: int, width: int, out_height: int, out_width: int) -> "Geometry":
        """Scale to a size; the aspect ratio may change."""
        return cls(height, width, height, width, out_height, out_width)

    @property
    def top(self) -> int:
        """Rows of padding above the source."""
        return (self.frame_height - self.height) // 2

    @property
    def left(self) -> int:
        """Columns of padding left of the source."""
        return (self.frame_width - self.width) // 2

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.out_height, self.out_width

    @property
    def scaled(self) -> bool:
        """Whether pixels are resampled; then restoring is not exact."""
        return self.size != (self.frame_height, self.frame_width)

    def image(self, image: Pixels) -> Pixels:
        """The image (h, w, 3) at the network's input size, antialiased if it shrinks."""
        framed = self._frame(image)
        if not self.scaled:
            return framed
        shrinks = self.out_height <= self.frame_height and self.out_width <= self.frame_width
        # Pillow widens the bilinear filter when it shrinks an image, so no pixel is skipped.
        resampling = Image.Resampling.BILINEAR if shrinks else Image.Resampling.BICUBIC
        return np.array(Image.fromarray(framed).resize((self.out_width, self.out_height), resampling))

    def probs(self, probs: Floats) -> Floats:
        """Probabilities or weights (h, w) at the network's input size; 0 in padding."""
        return self._scale(self._frame(probs), self.size)

    def label(self, labels: Bools) -> Bools:
        """A binary map (h, w) at the network's input size: True for pixels that are at least half True."""
        return self._cut(self._frame(labels))

    def classes(self, maps: Floats) -> Floats:
        """Maps of 0 and 1, one per class (k, h, w): a pixel gets the class that covers most of it.

        A pixel of which less than half has a class, as in padding, gets none.
        """
        shares = np.stack([self.probs(channel) for channel in maps])
        if not self.scaled:
            return shares
        largest = shares.argmax(axis=0) == np.arange(len(maps))[:, None, None]
        return np.asarray(largest & (shares.sum(axis=0) >= 0.5), dtype=np.float32)

    def region(self, region: Bools) -> Bools:
        """The region that counts (h, w); False in padding."""
        return self._cut(self._frame(region))

    def restore_probs(self, probs: Floats) -> Floats:
        """Convert probabilities (..., H, W) to the source's size (..., h, w); exact if nothing is scaled."""
        self._check_size(probs.shape[-2:])
        frame = (self.frame_height, self.frame_width)
        if self.scaled:
            flat = [self._scale(channel, frame) for channel in probs.reshape(-1, *self.size)]
            probs = np.stack(flat).reshape(*probs.shape[:-2], *frame)
        return self.crop(probs)

    def crop(self, framed: npt.NDArray[T]) -> npt.NDArray[T]:
        """The source's part (..., h, w) of an array on the frame (..., H, W), as a view."""
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        return framed[..., rows, columns]

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Left, right, top, bottom, in the order of `torch.nn.functional.pad`."""
        right, bottom = self.frame_width - self.width - self.left, self.frame_height - self.height - self.top
        return self.left, right, self.top, bottom

    def _frame(self, array: npt.NDArray[T]) -> npt.NDArray[T]:
        if array.shape[:2] != (self.height, self.width):
            raise ValueError(f"expected {self.height}x{self.width} pixels (h x w), got {_size(array.shape[:2])}")
        left, right, top, bottom = self.padding
        if not any(self.padding):
            return array
        widths = [(top, bottom), (left, right)] + [(0, 0)] * (array.ndim - 2)
        return np.pad(array, widths)

    def _cut(self, framed: Bools) -> Bools:
        return self._scale(framed.astype(np.float32), self.size) >= 0.5 if self.scaled else framed

    def _scale(self, probs: Floats, size: tuple[int, int]) -> Floats:
        for axis in (0, 1):
            probs = _area_scaled(probs, size[axis], axis) if size[axis] < probs.shape[axis] else probs
        if probs.shape != size:  # the other axes grow
            picture = Image.fromarray(np.ascontiguousarray(probs, dtype=np.float32))
            probs = np.array(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))
        return np.clip(probs, 0, 1)

    def _check_size(self, shape: Sequence[int]) -> None:
        if tuple(shape) != self.size:
            raise ValueError(f"expected probabilities of {_size(self.size)} pixels (h x w), got {_size(shape)}")


def _area_scaled(values: Floats, new: int, axis: int) -> Floats:
    """Exact area average along an axis: `new` pixels; Pillow's BOX uses only whole pixels."""
    values = np.moveaxis(values, axis, 0)
    old = len(values)
    integral = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)])
    edges = np.linspace(0, old, new + 1)
    below = np.minimum(edges.astype(np.intp), old - 1)
    part = (edges - below)[:, None]
    at_edges = integral[below] + part * values[below]
    return np.moveaxis(np.diff(at_edges, axis=0) * (new / old), 0, axis).astype(np.float32)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
