"""Metrics of probabilities from counts of pixels per 16-bit level.

Predictions are kept as 16-bit images, so a pixel's probability is one of 65,536 levels, `level / 65535`. Counting the
pixels per level, apart for a class (positive) and the rest (negative), therefore loses nothing: AUROC, average
precision, log loss, calibration and the confusion at any threshold are exact, images are pooled by adding counts, and a
bootstrap never touches a pixel.

A pixel is predicted positive where `prob >= threshold`. Numbers are nan where they are undefined (no positive pixel, no
negative pixel, or no pixel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from segkit.metrics.confusion import Confusion, dice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Counted = TypeVar("Counted", IntArray, FloatArray)

NUM_LEVELS = 65536
MAX_LEVEL = NUM_LEVELS - 1
LEVEL_PROBS: FloatArray = np.arange(NUM_LEVELS) / MAX_LEVEL
"""The probability of each level."""

HALF_LEVEL = 0.5 / MAX_LEVEL
"""Largest error of storing a probability as a level."""


@dataclass(frozen=True, eq=False)
class LevelCounts:
    """Pixels per level, apart for a class and the rest; of one image, or of several when pooled by `+`."""

    positive: IntArray
    """(65536,) pixels of the class at each level."""
    negative: IntArray
    """(65536,) other pixels at each level."""

    def __add__(self, other: LevelCounts) -> LevelCounts:
        """Pool the pixels of both."""
        return LevelCounts(self.positive + other.positive, self.negative + other.negative)

    @property
    def num_pixels(self) -> int:
        """Pixels counted."""
        return int(self.positive.sum() + self.negative.sum())


def quantise(probs: NDArray[Any]) -> NDArray[np.uint16]:
    """Nearest level of each probability in [0, 1], as a 16-bit PNG stores it."""
    return np.rint(np.asarray(probs, dtype=np.float64) * MAX_LEVEL).astype(np.uint16)


def count_levels(levels: NDArray[np.uint16], truth: NDArray[np.bool_], region: NDArray[np.bool_]) -> LevelCounts:
    """Count the pixels of `region` by level; the three have one shape, `truth` and `region` are bool."""
    return LevelCounts(
        np.bincount(levels[truth & region], minlength=NUM_LEVELS),
        np.bincount(levels[~truth & region], minlength=NUM_LEVELS),
    )


def first_positive_level(threshold: float) -> int:
    """Lowest level whose probability reaches `threshold`; 65536 if none does."""
    return int(np.searchsorted(LEVEL_PROBS, threshold, side="left"))


def confusion_at(counts: LevelCounts, threshold: float) -> Confusion:
    """Confusion of the map `prob >= threshold`."""
    first = first_positive_level(threshold)
    return Confusion(
        tp=int(counts.positive[first:].sum()),
        fp=int(counts.negative[first:].sum()),
        fn=int(counts.positive[:first].sum()),
        tn=int(counts.negative[:first].sum()),
    )


def total_log_loss(counts: LevelCounts) -> float:
    """Sum over pixels of -ln(probability given to the truth), in nats.

    The outermost levels count as half a level from 0 and 1.
    """
    probs = np.clip(LEVEL_PROBS, HALF_LEVEL, 1 - HALF_LEVEL)
    # Not `@`: its order of summation depends on the number of threads.
    return -float(np.sum(counts.positive * np.log(probs)) + np.sum(counts.negative * np.log1p(-probs)))


class Reliability(NamedTuple):
    """Sums over the pixels of each equally wide bin of probability; the last bin includes 1."""

    num_pixels: FloatArray
    """(num_bins,)"""
    sum_probs: FloatArray
    """(num_bins,) divided by `num_pixels`: the predicted probability."""
    num_positive: FloatArray
    """(num_bins,) divided by `num_pixels`: the share that is positive."""


def reliability(counts: LevelCounts, num_bins: int = 15) -> Reliability:
    """Gather pixels in bins of probability; in a calibrated map mean probability and positive share are equal."""
    bins = np.minimum(np.arange(NUM_LEVELS) * num_bins // MAX_LEVEL, num_bins - 1)
    pixels = counts.positive + counts.negative
    return Reliability(
        *(
            np.bincount(bins, weights, num_bins).astype(np.float64)
            for weights in (pixels, pixels * LEVEL_PROBS, counts.positive)
        )
    )


def expected_calibration_error(bins: Reliability) -> FloatArray:
    """Mean over pixels of |mean probability - positive share| of the pixel's bin (Guo 2017, Eq. 5).

    Both are of the positive class, not of the predicted one. The bins are the last axis; axes before it are kept.
    """
    num_pixels = np.asarray(bins.num_pixels.sum(axis=-1))
    gap = np.abs(bins.sum_probs - bins.num_positive).sum(axis=-1)
    return np.where(num_pixels > 0, gap / np.maximum(num_pixels, 1), np.nan)


class Curve(NamedTuple):
    """Points (x, y) of a curve and the threshold of each."""

    x: FloatArray
    y: FloatArray
    thresholds: FloatArray


def roc_curve(counts: LevelCounts) -> Curve:
    """Sensitivity (y) over 1 - specificity (x), thresholds falling, one point per level that occurs."""
    thresholds, tp, fp = _sweep(counts)
    return Curve(_share(fp, counts.negative.sum()), _share(tp, counts.positive.sum()), thresholds)


def precision_recall_curve(counts: LevelCounts) -> Curve:
    """Precision (y) over sensitivity (x), thresholds falling, one point per level that occurs."""
    thresholds, tp, fp = _sweep(counts)
    return Curve(_share(tp, counts.positive.sum()), tp / np.maximum(tp + fp, 1), thresholds)


def dice_curve(counts: LevelCounts) -> Curve:
    """Dice (y) over threshold (x), thresholds falling, one point per level that occurs."""
    thresholds, tp, fp = _sweep(counts)
    return Curve(thresholds, dice(tp, fp, counts.positive.sum() - tp), thresholds)


def best_dice_threshold(counts: LevelCounts) -> float:
    """Threshold with the highest Dice; nan without positive pixels. For validation images only, never for test.

    It is half-way between two levels that occur, so float32 probabilities and their stored 16-bit levels give the same
    map. Of equal scores the lowest threshold is returned; 0 predicts every pixel positive.
    """
    if counts.positive.sum() == 0:
        return float("nan")
    thresholds, scores, _ = dice_curve(counts)
    best = len(scores) - 1 - int(np.argmax(scores[::-1]))
    return float(thresholds[best] + thresholds[best + 1]) / 2 if best + 1 < len(thresholds) else 0.0


def thin(curve: Curve, max_points: int) -> Curve:
    """At most `max_points` points, evenly along the curve's length and with both ends, for drawing."""
    if len(curve.x) <= max_points:
        return curve
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(curve.x), np.diff(curve.y)))])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], max_points)).clip(0, len(length) - 1))
    return Curve(*(values[kept] for values in curve))


def from_top(per_level: Counted) -> Counted:
    """Sum of this level and all above it, along the last axis."""
    return np.cumsum(per_level[..., ::-1], axis=-1)[..., ::-1]


def _sweep(counts: LevelCounts) -> tuple[FloatArray, IntArray, IntArray]:
    """Thresholds at the levels that occur, falling, with the true and false positives of each."""
    occurring = np.flatnonzero(counts.positive + counts.negative)[::-1]
    return LEVEL_PROBS[occurring], from_top(counts.positive)[occurring], from_top(counts.negative)[occurring]


def _share(part: IntArray, whole: np.int64) -> FloatArray:
    return part / whole if whole else np.full(part.shape, np.nan)
