"""clDice: are the vessels' centre lines found, however thick they were drawn (Shit 2021, Eq. 1 and 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.metrics.confusion import precision, sensitivity


class SkeletonCounts(NamedTuple):
    """Pixels of the two skeletons, and how many of them lie in the other map; a sum pools images."""

    predicted: int
    """Skeleton of the prediction."""
    predicted_in_vessels: int
    """... of it inside the true vessels."""
    true: int
    """Skeleton of the true vessels."""
    true_in_prediction: int
    """... of it inside the predicted vessels."""


def skeleton_counts(
    prediction: NDArray[np.bool_], vessels: NDArray[np.bool_], region: NDArray[np.bool_]
) -> SkeletonCounts:
    """Thin both maps, cut to `region` first, and count how far each skeleton lies in the other map. All are (h, w)."""
    from skimage.morphology import skeletonize

    predicted, true = prediction & region, vessels & region
    predicted_line, true_line = skeletonize(predicted), skeletonize(true)
    return SkeletonCounts(
        int(predicted_line.sum()), int((predicted_line & true).sum()),
        int(true_line.sum()), int((true_line & predicted).sum()),
    )  # fmt: skip


def cldice_from_counts(predicted: Any, predicted_in_vessels: Any, true: Any, true_in_prediction: Any) -> Any:
    """Harmonic mean of topology precision and topology sensitivity, of numbers or of arrays.

    Like Dice it is 0 where only one of the maps is empty (a missed image must not drop out of a mean), and nan where
    both are.
    """
    topology_precision = _or_zero(precision(predicted_in_vessels, predicted - predicted_in_vessels))
    topology_sensitivity = _or_zero(sensitivity(true_in_prediction, true - true_in_prediction))
    total = topology_precision + topology_sensitivity
    harmonic = 2 * topology_precision * topology_sensitivity / np.where(total == 0, 1.0, total)
    return np.where(predicted + true == 0, np.nan, harmonic)[()]


def cldice(prediction: NDArray[np.bool_], vessels: NDArray[np.bool_], region: NDArray[np.bool_]) -> float:
    """Centre-line Dice of one image inside `region`; all are (h, w). nan where neither map has a vessel."""
    return float(cldice_from_counts(*skeleton_counts(prediction, vessels, region)))


def _or_zero(rate: Any) -> Any:
    return np.nan_to_num(rate, nan=0.0)
