"""Reduce an image to small arrays, of one class against the rest, from which all metrics are computed.

Arrays of several images are pooled by adding them. To add a reduction: a function and a line in `REDUCTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.metrics.curves import LevelCounts, count_levels

Counts = NDArray[np.int64]
Sums = NDArray[np.float64]


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
    predicted_class: NDArray[np.integer[Any]] | None = None
    """Index of the predicted class of several; None in a binary task."""
    num_classes: int = 2


def levels(maps: ClassMaps) -> Counts:
    """Pixels of the class (row 0) and of the rest (row 1) at each 16-bit level of probability: (2, 65536)."""
    counts = count_levels(maps.levels, maps.truth, maps.region)
    return np.stack([counts.positive, counts.negative])


def confusion(maps: ClassMaps) -> Counts:
    """True positives, false positives, false negatives, true negatives: (4,)."""
    predicted, truth = maps.prediction[maps.region], maps.truth[maps.region]
    tp, fp, fn = ((a & b).sum() for a, b in ((predicted, truth), (predicted, ~truth), (~predicted, truth)))
    return np.array([tp, fp, fn, predicted.size - tp - fp - fn], dtype=np.int64)


def joint(maps: ClassMaps) -> Counts:
    """Pixels of the class by the class they are predicted to be of, a row of the confusion matrix: (num_classes,)."""
    predicted = maps.prediction.astype(np.int64) if maps.predicted_class is None else maps.predicted_class
    return np.bincount(predicted[maps.truth & maps.region], minlength=maps.num_classes)


def segments(maps: ClassMaps) -> Sums:
    """Sums over the overlaps of connected components, for the foreground-restricted scores of ISBI 2012: (7,).

    Of the pixels that the labels give to the class (Arganda-Carreras 2015, section 2.3): their number; the sums of
    n^2 over the overlaps of a predicted and a true component, over the predicted components and over the true ones;
    and the same three sums of n ln n. Components are connected by edges (4 neighbours). Borders, which are all pixels
    outside the class, are thinned to nothing in the prediction, so that their width does not count: each pixel of a
    border joins the nearest component.
    """
    from scipy import ndimage

    truth = maps.truth & maps.region
    components = ndimage.label(maps.prediction & maps.region)[0]
    if components.any():
        nearest = ndimage.distance_transform_edt(components == 0, return_distances=False, return_indices=True)
        components = components[tuple(nearest)]
    predicted_ids, true_ids = components[truth], ndimage.label(truth)[0][truth]
    pairs = predicted_ids.astype(np.int64) * (int(true_ids.max(initial=0)) + 1) + true_ids
    sizes = [np.unique(ids, return_counts=True)[1].astype(np.float64) for ids in (pairs, predicted_ids, true_ids)]
    squares, entropies = ([f(n).sum() for n in sizes] for f in (np.square, lambda n: n * np.log(n)))
    return np.array([truth.sum(), *squares, *entropies], dtype=np.float64)


def surfaces(maps: ClassMaps) -> Sums:
    """Distances in pixels between the outlines of both maps: sum, number, and Hausdorff 95 of the image: (3,).

    The outline of a map is its pixels that have a neighbour by an edge outside it. From each pixel of an outline the
    distance to the nearest of the other one is taken, in both directions. Hausdorff 95 is the larger of the two
    directions' 95th percentiles, nan where a map is empty; then the sums are 0.
    """
    from scipy import ndimage

    outlines = []
    for area in (maps.prediction & maps.region, maps.truth & maps.region):
        outlines.append(area & ~ndimage.binary_erosion(area))
    if not all(outline.any() for outline in outlines):
        return np.array([0.0, 0.0, np.nan])
    first, second = outlines
    there = ndimage.distance_transform_edt(~second)[first]
    back = ndimage.distance_transform_edt(~first)[second]
    worst = max(np.percentile(there, 95), np.percentile(back, 95))
    return np.array([there.sum() + back.sum(), there.size + back.size, worst])


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

    reduce: Callable[[ClassMaps], Counts | Sums]
    needs_prediction: bool
    """Whether the array depends on where the probabilities are cut."""
    slow: bool = False
    """Whether images are reduced so only for metrics that were asked for."""


REDUCTIONS: dict[str, Reduction] = {
    "levels": Reduction(levels, needs_prediction=False),
    "confusion": Reduction(confusion, needs_prediction=True),
    "joint": Reduction(joint, needs_prediction=True),
    "skeletons": Reduction(skeletons, needs_prediction=True),
    "segments": Reduction(segments, needs_prediction=True, slow=True),
    "surfaces": Reduction(surfaces, needs_prediction=True, slow=True),
}
"""Every reduction by name."""

FAST_REDUCTIONS = tuple(name for name, reduction in REDUCTIONS.items() if not reduction.slow)


def as_level_counts(array: NDArray[np.generic]) -> LevelCounts:
    """The array of the reduction `levels` as counts."""
    positive, negative = array.astype(np.int64)
    return LevelCounts(positive, negative)
