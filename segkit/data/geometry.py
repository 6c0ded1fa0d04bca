"""How an image of any size fits a network, and how what the network says fits the image again.

`pad` surrounds the image up to a multiple of the network's stride and `crop`s back bit for bit; `resize` scales to a
given size; `square` surrounds it to a square and scales that (what a GAN draws). Padding is never field of view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from segkit.data.settings import GeometrySettings

PadMode = Literal["zero", "reflect"]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Geometry:
    """One plan: the source is centred on a frame, and the frame is scaled to the network's size."""

    height: int
    """Of the source image."""
    width: int
    frame_height: int
    """Of the source with its padding; the odd pixel goes to the bottom and right."""
    frame_width: int
    out_height: int
    """Of what the network sees; equal to the frame's where nothing is scaled."""
    out_width: int
    pad_mode: PadMode = "zero"

    def __post_init__(self) -> None:
        sizes = (self.height, self.width, self.out_height, self.out_width)
        if min(sizes) < 1 or self.frame_height < self.height or self.frame_width < self.width:
            raise ValueError(f"not a geometry: {self}")

    @classmethod
    def plan(cls, settings: GeometrySettings, height: int, width: int, stride: int) -> "Geometry":
        """The plan the settings ask for; `stride` counts where images are padded."""
        if settings.mode == "resize":
            assert settings.size is not None  # the settings saw to it
            return cls.resize(height, width, settings.size, settings.size)
        return cls.pad(height, width, stride)

    @classmethod
    def pad(cls, height: int, width: int, stride: int, pad_mode: PadMode = "zero") -> "Geometry":
        """Pad to the next multiple of `stride`; nothing is scaled."""
        tall, wide = (-(-side // stride) * stride for side in (height, width))
        return cls(height, width, tall, wide, tall, wide, pad_mode)

    @classmethod
    def resize(cls, height: int, width: int, out_height: int, out_width: int) -> "Geometry":
        """Scale to a size, whatever that does to the aspect."""
        return cls(height, width, height, width, out_height, out_width)

    @classmethod
    def square(cls, height: int, width: int, size: int, pad_mode: PadMode = "zero") -> "Geometry":
        """Pad to a square, then scale to `size` a side: the aspect is kept."""
        side = max(height, width)
        return cls(height, width, side, side, size, size, pad_mode)

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
        """Height and width of what the network sees."""
        return self.out_height, self.out_width

    @property
    def scaled(self) -> bool:
        """Whether pixels are resampled, so that the way back is not exact."""
        return self.size != (self.frame_height, self.frame_width)

    def image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The image (h, w, 3) as the network sees it, antialiased where it shrinks."""
        framed = self._frame(image, self.pad_mode)
        if not self.scaled:
            return framed
        shrinks = self.out_height <= self.frame_height and self.out_width <= self.frame_width
        # Pillow widens the bilinear filter as it shrinks, so that nothing is skipped
        how = Image.Resampling.BILINEAR if shrinks else Image.Resampling.BICUBIC
        return np.array(Image.fromarray(framed).resize((self.out_width, self.out_height), how))

    def probs(self, probs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities or weights (h, w) as the network sees them; 0 in zero padding."""
        return self._scale(self._frame(probs, self.pad_mode), self.size)

    def label(self, labels: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A binary map (h, w): at least half of a new pixel is positive; padding is not, unless reflected."""
        return self._cut(self._frame(labels, self.pad_mode))

    def classes(self, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Maps of 0 and 1, one per class (k, h, w): a new pixel belongs to the class that covers most of it.

        Where less than half of it belongs to any class, as in padding, it belongs to none.
        """
        shares = np.stack([self.probs(one) for one in maps])
        if not self.scaled:
            return shares
        largest = shares.argmax(axis=0) == np.arange(len(maps))[:, None, None]
        return np.asarray(largest & (shares.sum(axis=0) >= 0.5), dtype=np.float32)

    def region(self, region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The region that counts (h, w); padding lies outside it, even where the image is reflected."""
        return self._cut(self._frame(region, "zero"))

    def restore_probs(self, probs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The network's probabilities (..., H, W) at the source's size (..., h, w); exact where nothing is scaled."""
        self._demand(probs.shape[-2:])
        frame = (self.frame_height, self.frame_width)
        if self.scaled:
            flat = [self._scale(one, frame) for one in probs.reshape(-1, *self.size)]
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

    def _frame(self, array: npt.NDArray[T], pad_mode: PadMode) -> npt.NDArray[T]:
        if array.shape[:2] != (self.height, self.width):
            raise ValueError(f"made for {self.height}x{self.width} pixels (h x w), given {_size(array.shape[:2])}")
        left, right, top, bottom = self.padding
        if not any(self.padding):
            return array
        widths = [(top, bottom), (left, right)] + [(0, 0)] * (array.ndim - 2)
        how: dict[str, Any] = {"mode": "reflect"} if pad_mode == "reflect" else {"mode": "constant"}
        return np.pad(array, widths, **how)

    def _cut(self, framed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return self._scale(framed.astype(np.float32), self.size) >= 0.5 if self.scaled else framed

    def _scale(self, probs: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
        for axis in (0, 1):
            probs = _area_scaled(probs, size[axis], axis) if size[axis] < probs.shape[axis] else probs
        if probs.shape != size:  # what is left grows
            picture = Image.fromarray(np.ascontiguousarray(probs, dtype=np.float32))
            probs = np.array(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))
        return np.clip(probs, 0, 1)

    def _demand(self, shape: Sequence[int]) -> None:
        if tuple(shape) != self.size:
            raise ValueError(f"the network saw {_size(self.size)} pixels (h x w), its answer has {_size(shape)}")


def _area_scaled(values: npt.NDArray[np.float32], new: int, axis: int) -> npt.NDArray[np.float32]:
    """Mean over what each of `new` pixels covers along an axis, exactly; Pillow's BOX counts only whole pixels."""
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
