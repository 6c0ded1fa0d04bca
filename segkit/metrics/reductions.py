"""Reduce an image to small arrays, of one class against the rest, from which all metrics are computed.

Arrays of several images are pooled by adding them. To add a reduction: a function and a line in `REDUCTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.metrics.curves import LevelCounts, count_levels

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """One class of one image, inside a region; all maps are (h, w)."""

    levels: NDArray[np.uint16]
    """Probability of the class times 65535."""
    prediction: NDArray[np.bool_]
    """Pixels that are predicted to be of the class."""
    truth: NDArray[np.bool_]
    region: NDArray[np.bool_]
    """Pixels that count."""


def levels(maps: ClassMaps) -> Counts:
    """Pixels of the class (row 0) and of the rest (row 1) at each 16-bit level of probability: (2, 65536)."""
    counts = count_levels(maps.levels, maps.truth, maps.region)
    return np.stack([counts.positive, counts.negative])


def confusion(maps: ClassMaps) -> Counts:
    """True positives, false positives, false negatives, true negatives: (4,)."""
    predicted, truth = maps.prediction[maps.region], maps.truth[maps.region]
    tp, fp, fn = ((a & b).sum() for a, b in ((predicted, truth), (predicted, ~truth), (~predicted, truth)))
    return np.array([tp, fp, fn, predicted.size - tp - fp - fn], dtype=np.int64)


def skeletons(maps: ClassMaps) -> Counts:
    """Pixels of the centre lines, and how many lie in the other map, for clDice (Shit 2021, Eq. 1): (4,).

    Predicted line, the part of it inside the truth, true line, the part of it inside the prediction. Both maps are cut
    to the region before they are thinned.
    """
    from skimage.morphology import skeletonize

    predicted, truth = maps.prediction & maps.region, maps.truth & maps.region
    predicted_line, true_line = skeletonize(predicted), skeletonize(truth)
    lines = (predicted_line, predicted_line & truth, true_line, true_line & predicted)
    return np.array([line.sum() for line in lines], dtype=np.int64)


class Reduction(NamedTuple):
    """A way to reduce an image."""

    reduce: Callable[[ClassMaps], Counts]
    needs_prediction: bool
    """Whether the array depends on where the probabilities are cut."""


REDUCTIONS: dict[str, Reduction] = {
    "levels": Reduction(levels, needs_prediction=False),
    "confusion": Reduction(confusion, needs_prediction=True),
    "skeletons": Reduction(skeletons, needs_prediction=True),
}
"""Every reduction by name."""


def as_level_counts(array: NDArray[np.generic]) -> LevelCounts:
    """The array of the reduction `levels` as counts."""
    positive, negative = array.astype(np.int64)
    return LevelCounts(positive, negative)
