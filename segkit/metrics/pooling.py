"""Pooled metrics of resampled images, without pooling pixels a thousand times.

Each function reduces n images once and returns a `Statistic`: multiplicities (b, n) -> pooled value of each resample.
An identity matrix of multiplicities gives the value of each single image, a row of ones the pooled value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.metrics.confusion import FROM_CONFUSION, Confusion
from segkit.metrics.curves import (
    LevelCounts,
    Reliability,
    confusion_at,
    expected_calibration_error,
    from_top,
    reliability,
    total_log_loss,
)
from segkit.metrics.significance import FloatArray, Statistic, ratio_of
from segkit.metrics.topology import SkeletonCounts, cldice_from_counts

RESAMPLES_AT_ONCE = 64
"""Resamples held at once as float64 arrays over all levels: about 35 MB each."""


def confusion_metric(name: str, images: Sequence[LevelCounts], threshold: float) -> Statistic:
    """A rate of `FROM_CONFUSION` at `threshold`."""
    per_image = np.array([confusion_at(counts, threshold) for counts in images])
    return lambda multiplicities: FROM_CONFUSION[name](Confusion(*(multiplicities @ per_image).T))


def cldice(images: Sequence[SkeletonCounts]) -> Statistic:
    """clDice of the skeletons of all drawn images together."""
    per_image = np.array(images)
    return lambda multiplicities: cldice_from_counts(*(multiplicities @ per_image).T)


def log_loss(images: Sequence[LevelCounts]) -> Statistic:
    """Log loss per pixel."""
    return ratio_of(
        np.array([total_log_loss(counts) for counts in images]),
        np.array([float(counts.num_pixels) for counts in images]),
    )


def ece(images: Sequence[LevelCounts]) -> Statistic:
    """Expected calibration error of the drawn images together."""
    per_image = [np.stack(sums) for sums in zip(*(reliability(counts) for counts in images), strict=True)]
    return lambda multiplicities: expected_calibration_error(
        Reliability(*(multiplicities @ bins for bins in per_image))
    )


def auroc(images: Sequence[LevelCounts]) -> Statistic:
    """AUROC of the drawn images together.

    Pairs of a vessel pixel of image i and a background pixel of image j, counted once as an (n, n) matrix of concordant
    pairs C, give every resample w exactly: w C w / (w . vessel)(w . background).
    """
    vessel, background = _by_occurring_level(images)
    concordant = vessel @ (np.cumsum(background, axis=1) - background / 2).T
    num_vessel, num_background = vessel.sum(axis=1), background.sum(axis=1)

    def statistic(multiplicities: NDArray[Any]) -> FloatArray:
        pairs = (multiplicities @ num_vessel) * (multiplicities @ num_background)
        ranked = ((multiplicities @ concordant) * multiplicities).sum(axis=1)
        return np.where(pairs > 0, ranked / np.maximum(pairs, 1), np.nan)

    return statistic


def auprc(images: Sequence[LevelCounts]) -> Statistic:
    """Average precision of the drawn images together."""
    vessel, background = _by_occurring_level(images)
    found = from_top(vessel)
    flagged = found + from_top(background)

    def statistic(multiplicities: NDArray[Any]) -> FloatArray:
        parts = []
        for first in range(0, len(multiplicities), RESAMPLES_AT_ONCE):
            some = multiplicities[first : first + RESAMPLES_AT_ONCE].astype(np.float64)
            precision = (some @ found) / np.maximum(some @ flagged, 1)
            num_vessel = some @ vessel.sum(axis=1)
            rise = np.einsum("bl,bl->b", precision, some @ vessel)
            parts.append(np.where(num_vessel > 0, rise / np.maximum(num_vessel, 1), np.nan))
        return np.concatenate(parts)

    return statistic


def _by_occurring_level(images: Sequence[LevelCounts]) -> tuple[FloatArray, FloatArray]:
    """Vessel and background pixels, (n, l) each, of the l levels that occur in any image."""
    vessel = np.stack([counts.vessel for counts in images])
    background = np.stack([counts.background for counts in images])
    occurring = (vessel.any(axis=0)) | (background.any(axis=0))
    return vessel[:, occurring].astype(np.float64), background[:, occurring].astype(np.float64)
