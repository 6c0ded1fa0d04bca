"""Random square crops of a picture: anywhere in the region, or centred on a pixel that shows a class."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from segkit.core.arrays import Bools, Floats

T = TypeVar("T", bound=np.generic)

MAX_DRAWS = 20
"""Maximum number of squares drawn until one lies far enough inside the region; then the best of them is used."""

_PIXELS_PER_DRAW = 256


@dataclass(frozen=True)
class Crops:
    """How random crops are drawn."""

    size: int
    """Side of the square, in pixels."""
    positive_prob: float = 0.0
    """Chance that the centre is a pixel of a class other than the background."""
    region_share: float = 0.5
    """Smallest share of the square inside the region."""

    def corner(self, target: Floats, region: Bools, rng: np.random.Generator) -> tuple[int, int]:
        """Top and left of a random square, negative where the picture is smaller.

        Args:
            target: (k, h, w) in [0, 1]; of several classes the first is the background.
            region: (h, w).
        """
        if self.positive_prob > 0 and rng.random() < self.positive_prob:
            centre = _positive_pixel(target, region, rng)
            if centre is not None:
                return self._around(centre, region.shape)
        return self._anywhere(region, rng)

    def _around(self, centre: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
        """The square around a pixel, moved into the picture where it fits there."""
        top, left = (
            min(max(place - self.size // 2, 0), side - self.size) if side >= self.size else (side - self.size) // 2
            for place, side in zip(centre, shape, strict=True)
        )
        return top, left

    def _anywhere(self, region: Bools, rng: np.random.Generator) -> tuple[int, int]:
        best, best_share = (0, 0), -1.0
        for _ in range(MAX_DRAWS):
            top, left = (
                int(rng.integers(0, side - self.size + 1)) if side >= self.size else (side - self.size) // 2
                for side in region.shape
            )
            inside = region[max(top, 0) : top + self.size, max(left, 0) : left + self.size]
            share = float(inside.sum()) / self.size**2
            if share > best_share:
                best, best_share = (top, left), share
            if share >= self.region_share or max(region.shape) < self.size:
                break
        return best


def _positive_pixel(target: Floats, region: Bools, rng: np.random.Generator) -> tuple[int, int] | None:
    """A random pixel inside the region of a class other than the background; None where there is none.

    Pixels are drawn until one is positive, which on large pictures is far cheaper than listing all of them.
    """
    classes = target if len(target) == 1 else target[1:]
    height, width = region.shape
    for _ in range(MAX_DRAWS):
        rows, columns = rng.integers(0, height, _PIXELS_PER_DRAW), rng.integers(0, width, _PIXELS_PER_DRAW)
        hits = np.flatnonzero((classes[:, rows, columns] > 0.5).any(axis=0) & region[rows, columns])
        if len(hits):
            return int(rows[hits[0]]), int(columns[hits[0]])
    positive = np.argwhere((classes > 0.5).any(axis=0) & region)
    if not len(positive):
        return None
    row, column = rng.choice(positive)
    return int(row), int(column)


def cut(array: npt.NDArray[T], top: int, left: int, side: int) -> npt.NDArray[T]:
    """The square (side, side, ...) of an array (h, w, ...), 0 where it leaves the array."""
    height, width = array.shape[:2]
    rows, columns = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    around = [(rows.start - top, top + side - rows.stop), (columns.start - left, left + side - columns.stop)]
    part = array[rows, columns]
    return np.pad(part, [*around, *[(0, 0)] * (array.ndim - 2)]) if any(map(any, around)) else part
