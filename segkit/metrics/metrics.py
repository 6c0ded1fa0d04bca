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

from segkit.core.errors import RequestError
from segkit.core.names import hint
from segkit.metrics.confusion import FROM_CONFUSION, Confusion, precision, sensitivity
from segkit.metrics.curves import (
    LevelCounts,
    Reliability,
    expected_calibration_error,
    from_top,
    reliability,
    total_log_loss,
)
from segkit.metrics.reductions import REDUCTIONS, as_level_counts
from segkit.metrics.significance import FloatArray, Statistic, mean_of, ratio_of

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


def mean_iou(matrices: Arrays) -> Statistic:
    """Mean over the classes of their intersections over union, from confusion matrices (n, k, k).

    A binary task has two classes, the class and the rest. Classes that neither map has are left out.
    """
    pooled = _pooled(matrices)

    def statistic(multiplicities: NDArray[np.int64]) -> FloatArray:
        matrix = pooled(multiplicities)
        overlap = np.diagonal(matrix, axis1=1, axis2=2)
        union = matrix.sum(axis=1) + matrix.sum(axis=2) - overlap
        present = union > 0
        total = np.where(present, overlap / np.where(present, union, 1), 0).sum(axis=1)
        return np.where(present.any(axis=1), total / np.maximum(present.sum(axis=1), 1), np.nan)

    return statistic


def v_rand(matrices: Arrays) -> Statistic:
    """V_rand over classes: sum p_ij^2 / (sum s_i^2 / 2 + sum t_j^2 / 2), from confusion matrices (n, k, k).

    p_ij is the share of pixels of predicted class i and true class j, s and t are its marginals.
    """
    pooled = _pooled(matrices)

    def statistic(multiplicities: NDArray[np.int64]) -> FloatArray:
        matrix = pooled(multiplicities)
        squares = ((matrix**2).sum(axis=(1, 2)), (matrix.sum(axis=1) ** 2).sum(1), (matrix.sum(axis=2) ** 2).sum(1))
        return _share_of_mean(*squares)

    return statistic


def v_info(matrices: Arrays) -> Statistic:
    """V_info over classes: I(S; T) / (H(S) / 2 + H(T) / 2), from confusion matrices (n, k, k)."""
    pooled = _pooled(matrices)

    def statistic(multiplicities: NDArray[np.int64]) -> FloatArray:
        matrix = pooled(multiplicities)
        sums = (_n_log_n(matrix).sum(1), _n_log_n(matrix.sum(axis=1)), _n_log_n(matrix.sum(axis=2)))
        return _information(matrix.sum(axis=(1, 2)), *(values.sum(axis=1) for values in sums))

    return statistic


def segment_v_rand(segments: Arrays) -> Statistic:
    """Foreground-restricted V_Rand of segments (Arganda-Carreras 2015, Eq. 3), from the sums (n, 7) of each image."""
    return lambda multiplicities: _share_of_mean(*(multiplicities @ segments).T[1:4])


def segment_v_info(segments: Arrays) -> Statistic:
    """Foreground-restricted V_Info of segments (Arganda-Carreras 2015, Eq. 6), from the sums (n, 7) of each image."""

    def statistic(multiplicities: NDArray[np.int64]) -> FloatArray:
        sums = (multiplicities @ segments).T
        return _information(sums[0], *sums[4:7])

    return statistic


def surface_distance(surfaces: Arrays) -> Statistic:
    """Mean over the outline pixels of both maps of the distance to the other outline, from `surfaces` (n, 3)."""
    return ratio_of(surfaces[:, 0], surfaces[:, 1])


def hausdorff_95(surfaces: Arrays) -> Statistic:
    """Mean over images of Hausdorff 95, from `surfaces` (n, 3): percentiles of several images do not add up."""
    return mean_of(surfaces[:, 2])


def _pooled(matrices: Arrays) -> Callable[[NDArray[np.int64]], FloatArray]:
    """Multiplicities (b, n) to the confusion matrices (b, k, k) of the drawn images together."""
    return lambda multiplicities: np.tensordot(multiplicities.astype(np.float64), matrices, axes=1)


def _share_of_mean(together: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    mean = (first + second) / 2
    return np.where(mean > 0, together / np.where(mean > 0, mean, 1), np.nan)


def _n_log_n(counts: FloatArray) -> FloatArray:
    return counts * np.log(np.maximum(counts, 1))


def _information(num_pixels: FloatArray, together: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """I(S; T) / (H(S) / 2 + H(T) / 2) from sums of n ln n over pairs of segments, over S and over T.

    nan where both maps have one segment only.
    """
    pixels = np.maximum(num_pixels, 1)
    joint, s, t = (np.log(pixels) - sums / pixels for sums in (together, first, second))
    mean = (s + t) / 2
    some = mean > 1e-12
    return np.where(some, (s + t - joint) / np.where(some, mean, 1), np.nan)


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


def categorical_log_loss(levels: Sequence[Arrays]) -> Statistic:
    """Log loss of several classes, from the levels of each: the mean over pixels of -ln p of the true class."""
    true = np.stack([array[:, 0].astype(np.int64) for array in levels])
    nobody = np.zeros(true.shape[2], dtype=np.int64)
    sums = [sum(total_log_loss(LevelCounts(counts, nobody)) for counts in image) for image in true.swapaxes(0, 1)]
    return ratio_of(np.array(sums), true.sum(axis=(0, 2)).astype(np.float64))


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

    def statistic(multiplicities: NDArray[np.int64]) -> FloatArray:
        pairs = (multiplicities @ num_positive) * (multiplicities @ num_negative)
        ranked = ((multiplicities @ concordant) * multiplicities).sum(axis=1)
        return np.where(pairs > 0, ranked / np.maximum(pairs, 1), np.nan)

    return statistic


def auprc(levels: Arrays) -> Statistic:
    """Average precision of the drawn images together: sum of rise in sensitivity x precision, without interpolation."""
    positive, negative = _at_occurring_levels(levels)
    tp = from_top(positive)
    predicted = tp + from_top(negative)

    def statistic(multiplicities: NDArray[np.int64]) -> FloatArray:
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
    """One metric of a class against the rest, or of the whole label map where it is computed from `joint`."""

    heading: str
    """For tables."""
    reduction: str
    """Which of `REDUCTIONS` it needs."""
    statistic: Callable[[Arrays], Statistic]
    of_all_classes: Callable[[Sequence[Arrays]], Statistic] | None = None
    """Summary of several classes, from the arrays of all; by default the mean of their values."""
    formula: str = ""
    """For the documentation."""
    source: str = ""
    """Paper and equation."""
    undefined: str = "the region is empty"
    """Where an image has no value."""
    on_request: bool = False
    """Whether it is measured only where it is asked for."""
    per_image_only: bool = False
    """Whether several images have no pooled value."""
    larger_is_better: bool = True

    @property
    def uses_prediction(self) -> bool:
        """Whether the value depends on a prediction, and not only on probabilities."""
        return REDUCTIONS[self.reduction].needs_prediction

    @property
    def of_the_map(self) -> bool:
        """Whether several classes have one value together and none of their own."""
        return self.reduction == "joint"


def _rate(heading: str, name: str, formula: str, undefined: str, source: str = "") -> Metric:
    return Metric(heading, "confusion", partial(rate, name), formula=formula, undefined=undefined, source=source)


_NO_CLASS = "the labels lack the class"
_NEITHER = "neither map has the class"
_ONE_KIND = "all labels are of one kind"

METRICS: dict[str, Metric] = {
    "dice": _rate("Dice (F1)", "dice", "2 TP / (2 TP + FP + FN)", _NEITHER, "Dice 1945"),
    "sensitivity": _rate("Sensitivity", "sensitivity", "TP / (TP + FN)", _NO_CLASS),
    "specificity": _rate("Specificity", "specificity", "TN / (TN + FP)", "all labels are of the class"),
    "precision": _rate("Precision", "precision", "TP / (TP + FP)", "the prediction lacks the class"),
    "accuracy": _rate(
        "Accuracy", "accuracy", "(TP + TN) / all; several classes: share of right pixels", "the region is empty"
    )._replace(of_all_classes=pixel_accuracy),
    "mcc": _rate(
        "MCC",
        "mcc",
        "(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))",
        "a map is of one kind",
        "Matthews 1975",
    ),
    "iou": _rate("IoU", "iou", "TP / (TP + FP + FN)", _NEITHER, "Jaccard 1912"),
    "mean_iou": Metric(
        "mean IoU", "joint", mean_iou, formula="mean of IoU over classes; binary: over the class and the rest"
    ),
    "cldice": Metric(
        "clDice",
        "skeletons",
        cldice,
        formula="harmonic mean of the shares of each centre line inside the other map",
        source="Shit 2021, Eq. 2",
        undefined=_NEITHER,
    ),
    "auroc": Metric(
        "AUROC",
        "levels",
        auroc,
        formula="chance that a pixel of the class has a higher probability than another",
        source="Hanley 1982",
        undefined=_ONE_KIND,
    ),
    "auprc": Metric(
        "AUPRC",
        "levels",
        auprc,
        formula="average precision: sum of (rise in sensitivity) precision",
        undefined=_NO_CLASS,
    ),
    "log_loss": Metric(
        "Log loss",
        "levels",
        log_loss,
        categorical_log_loss,
        formula="mean of -ln p of the true class, in nats",
        larger_is_better=False,
    ),
    "ece": Metric(
        "ECE",
        "levels",
        ece,
        formula="mean of |mean p - share of the class| over 15 bins of p; several classes: the mean",
        source="Guo 2017, Eq. 5; Nixon 2019",
        larger_is_better=False,
    ),
    "v_rand": Metric(
        "V_rand (classes)",
        "joint",
        v_rand,
        formula="sum p_ij^2 / (sum s_i^2 / 2 + sum t_j^2 / 2), p_ij over predicted and true classes",
        source="Arganda-Carreras 2015, Eq. 3, on classes",
        on_request=True,
    ),
    "v_info": Metric(
        "V_info (classes)",
        "joint",
        v_info,
        formula="I(S; T) / (H(S) / 2 + H(T) / 2) over classes",
        source="Arganda-Carreras 2015, Eq. 6, on classes",
        undefined="both maps are of one class",
        on_request=True,
    ),
    "isbi_v_rand": Metric(
        "V_Rand (ISBI)",
        "segments",
        segment_v_rand,
        formula="as V_rand, over connected components, on the class's true pixels; predicted borders thinned",
        source="Arganda-Carreras 2015, Eq. 3",
        undefined=_NO_CLASS,
        on_request=True,
    ),
    "isbi_v_info": Metric(
        "V_Info (ISBI)",
        "segments",
        segment_v_info,
        formula="as V_info, over connected components, on the class's true pixels; predicted borders thinned",
        source="Arganda-Carreras 2015, Eq. 6",
        undefined="both maps have one segment, or the labels none",
        on_request=True,
    ),
    "hd95": Metric(
        "Hausdorff 95, px",
        "surfaces",
        hausdorff_95,
        formula="larger of the 95th percentiles of the distances between outlines, either way",
        source="Huttenlocher 1993",
        undefined="a map lacks the class",
        on_request=True,
        per_image_only=True,
        larger_is_better=False,
    ),
    "assd": Metric(
        "Surface distance, px",
        "surfaces",
        surface_distance,
        formula="mean distance from each outline's pixels to the other outline",
        source="Heimann 2009, Eq. 6",
        undefined="a map lacks the class",
        on_request=True,
        larger_is_better=False,
    ),
}
"""Every metric by its reported name, in the order of a table."""

DEFAULT_METRICS = tuple(name for name, metric in METRICS.items() if not metric.on_request)
"""The metrics that are always measured."""

EPOCH_METRICS = tuple(name for name in DEFAULT_METRICS if METRICS[name].reduction in ("confusion", "joint", "levels"))
"""The metrics of a validation epoch: those that need no shapes, which are slow to reduce."""

FURTHER_METRICS = tuple(name for name, metric in METRICS.items() if metric.on_request)
"""The metrics that are measured on request, some because they are slow."""


def check_metric(name: str) -> None:
    """Raise RequestError unless there is a metric of this name."""
    if name not in METRICS:
        raise RequestError(f"unknown metric {name!r}; {hint(name, METRICS)}")


def with_default(further: Sequence[str]) -> tuple[str, ...]:
    """The default metrics and further ones, in the order of a table.

    Raises:
        RequestError: there is no such metric.
    """
    for name in further:
        check_metric(name)
    return tuple(name for name, metric in METRICS.items() if not metric.on_request or name in further)


def reductions_for(names: Sequence[str]) -> tuple[str, ...]:
    """The reductions that metrics need; levels and confusions are always kept, from which thresholds follow."""
    needed = {METRICS[name].reduction for name in names} | {"levels", "confusion"}
    return tuple(name for name in REDUCTIONS if name in needed)
