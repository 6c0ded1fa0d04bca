"""Every metric: its heading, the reduction it needs, and its value for any multiplicities of the images.

A `Statistic` maps multiplicities (b, n) of n images to the pooled value of each of b resamples. An identity matrix
gives the value of each single image, a row of ones the pooled value. To add a metric: a function and a line in
`METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.metrics.confusion import FROM_CONFUSION, Confusion, precision, sensitivity
from segkit.metrics.curves import Reliability, expected_calibration_error, from_top, reliability, total_log_loss
from segkit.metrics.reductions import REDUCTIONS, as_level_counts
from segkit.metrics.significance import FloatArray, Statistic, ratio_of

Arrays = NDArray[Any]
"""(n, ...) the reduction's array of each image."""

RESAMPLES_AT_ONCE = 64
"""Resamples held at once as float64 arrays over all levels: about 35 MB each."""


def rate(name: str, confusions: Arrays) -> Statistic:
    """A rate of `FROM_CONFUSION`, from the confusion (n, 4) of each image."""
    return lambda multiplicities: FROM_CONFUSION[name](Confusion(*(multiplicities @ confusions).T))


def pixel_accuracy(confusions: Sequence[Arrays]) -> Statistic:
    """Share of pixels whose class is predicted, from the confusion (n, 4) of each class against the rest."""
    right = np.sum([confusion[:, 0] for confusion in confusions], axis=0)
    return ratio_of(right.astype(np.float64), confusions[0].sum(axis=1).astype(np.float64))


def cldice(skeletons: Arrays) -> Statistic:
    """Centre-line Dice, from the skeleton counts (n, 4) of each image."""
    return lambda multiplicities: cldice_from_counts(*(multiplicities @ skeletons).T)


def cldice_from_counts(predicted: Any, predicted_in_truth: Any, true: Any, true_in_prediction: Any) -> Any:
    """Harmonic mean of topology precision and topology sensitivity (Shit 2021, Eq. 2), of numbers or of arrays.

    Like Dice it is 0 where only one of the maps is empty (a missed image must not drop out of a mean), and nan where
    both are.
    """
    topology_precision = np.nan_to_num(precision(predicted_in_truth, predicted - predicted_in_truth))
    topology_sensitivity = np.nan_to_num(sensitivity(true_in_prediction, true - true_in_prediction))
    total = topology_precision + topology_sensitivity
    harmonic = 2 * topology_precision * topology_sensitivity / np.where(total == 0, 1.0, total)
    return np.where(predicted + true == 0, np.nan, harmonic)[()]


def log_loss(levels: Arrays) -> Statistic:
    """Log loss per pixel, in nats."""
    counts = [as_level_counts(array) for array in levels]
    return ratio_of(
        np.array([total_log_loss(image) for image in counts]), np.array([float(image.num_pixels) for image in counts])
    )


def ece(levels: Arrays) -> Statistic:
    """Expected calibration error of the drawn images together."""
    per_image = zip(*(reliability(as_level_counts(array)) for array in levels), strict=True)
    bins = [np.stack(sums) for sums in per_image]
    return lambda multiplicities: expected_calibration_error(Reliability(*(multiplicities @ sums for sums in bins)))


def auroc(levels: Arrays) -> Statistic:
    """AUROC of the drawn images together: chance that a positive pixel ranks above a negative one, a tie being half.

    Pairs of a positive pixel of image i and a negative pixel of image j, counted once as an (n, n) matrix of concordant
    pairs C, give every resample w exactly: w C w / (w . positive)(w . negative).
    """
    positive, negative = _at_occurring_levels(levels)
    concordant = positive @ (np.cumsum(negative, axis=1) - negative / 2).T
    num_positive, num_negative = positive.sum(axis=1), negative.sum(axis=1)

    def statistic(multiplicities: NDArray[Any]) -> FloatArray:
        pairs = (multiplicities @ num_positive) * (multiplicities @ num_negative)
        ranked = ((multiplicities @ concordant) * multiplicities).sum(axis=1)
        return np.where(pairs > 0, ranked / np.maximum(pairs, 1), np.nan)

    return statistic


def auprc(levels: Arrays) -> Statistic:
    """Average precision of the drawn images together: sum of rise in sensitivity x precision, without interpolation."""
    positive, negative = _at_occurring_levels(levels)
    tp = from_top(positive)
    predicted = tp + from_top(negative)

    def statistic(multiplicities: NDArray[Any]) -> FloatArray:
        parts = []
        for first in range(0, len(multiplicities), RESAMPLES_AT_ONCE):
            some = multiplicities[first : first + RESAMPLES_AT_ONCE].astype(np.float64)
            precision_at = (some @ tp) / np.maximum(some @ predicted, 1)
            num_positive = some @ positive.sum(axis=1)
            rise = np.einsum("bl,bl->b", precision_at, some @ positive)
            parts.append(np.where(num_positive > 0, rise / np.maximum(num_positive, 1), np.nan))
        return np.concatenate(parts)

    return statistic


def _at_occurring_levels(levels: Arrays) -> tuple[FloatArray, FloatArray]:
    """Positive and negative pixels, (n, l) each, of the l levels that occur in any image."""
    positive, negative = levels[:, 0], levels[:, 1]
    occurring = positive.any(axis=0) | negative.any(axis=0)
    return positive[:, occurring].astype(np.float64), negative[:, occurring].astype(np.float64)


class Metric(NamedTuple):
    """One metric of a class against the rest."""

    heading: str
    """For tables."""
    reduction: str
    """Which of `REDUCTIONS` it needs."""
    statistic: Callable[[Arrays], Statistic]
    of_all_classes: Callable[[Sequence[Arrays]], Statistic] | None = None
    """Summary of several classes, from the arrays of all; by default the mean of their values."""

    @property
    def uses_prediction(self) -> bool:
        """Whether the value depends on a prediction, and not only on probabilities."""
        return REDUCTIONS[self.reduction].needs_prediction


_RATE_HEADINGS = {
    "dice": "Dice (F1)",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "accuracy": "Accuracy",
    "mcc": "MCC",
    "iou": "IoU",
    "mean_iou": "mean IoU",
}

METRICS: dict[str, Metric] = {
    **{name: Metric(heading, "confusion", partial(rate, name)) for name, heading in _RATE_HEADINGS.items()},
    "cldice": Metric("clDice", "skeletons", cldice),
    "auroc": Metric("AUROC", "levels", auroc),
    "auprc": Metric("AUPRC", "levels", auprc),
    "log_loss": Metric("Log loss", "levels", log_loss),
    "ece": Metric("ECE", "levels", ece),
}
"""Every metric by its reported name, in the order of a table."""
METRICS["accuracy"] = METRICS["accuracy"]._replace(of_all_classes=pixel_accuracy)
