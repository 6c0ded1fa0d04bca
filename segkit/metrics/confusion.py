"""Rates of one class against the rest, each with its formula: the only definitions in this project.

Every function takes counts as Python numbers, numpy arrays (one entry per image or per resample) or torch tensors, and
returns the same kind. A rate whose denominator is zero is nan: an image without the class has no sensitivity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    Counts = TypeVar("Counts", float, NDArray[Any], Tensor)
else:
    Counts = TypeVar("Counts")  # scoring files needs no torch, so it is not imported for an annotation


class Confusion(NamedTuple):
    """Pixels by prediction and truth, all of one kind: numbers, arrays or tensors."""

    tp: Any
    """In the class and predicted."""
    fp: Any
    """Not in the class but predicted."""
    fn: Any
    """In the class but not predicted."""
    tn: Any
    """Not in the class and not predicted."""


def sensitivity(tp: Counts, fn: Counts) -> Counts:
    """Share of the class's pixels that are predicted: TP / (TP + FN). Also called recall or true positive rate."""
    return _ratio(tp, tp + fn)


def specificity(tn: Counts, fp: Counts) -> Counts:
    """Share of all other pixels that are not predicted: TN / (TN + FP). Also called true negative rate."""
    return _ratio(tn, tn + fp)


def precision(tp: Counts, fp: Counts) -> Counts:
    """Share of the predicted pixels that are in the class: TP / (TP + FP)."""
    return _ratio(tp, tp + fp)


def dice(tp: Counts, fp: Counts, fn: Counts) -> Counts:
    """Dice = F1 = 2 TP / (2 TP + FP + FN): the harmonic mean of precision and sensitivity (not of specificity)."""
    return _ratio(2 * tp, 2 * tp + fp + fn)


def iou(tp: Counts, fp: Counts, fn: Counts) -> Counts:
    """Intersection over union of the class: TP / (TP + FP + FN)."""
    return _ratio(tp, tp + fp + fn)


def accuracy(tp: Counts, fp: Counts, fn: Counts, tn: Counts) -> Counts:
    """Share of pixels predicted right: (TP + TN) / all."""
    return _ratio(tp + tn, tp + fp + fn + tn)


def mcc(tp: Counts, fp: Counts, fn: Counts, tn: Counts) -> Counts:
    """Matthews correlation: (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))."""
    tp, fp, fn, tn = (_as_float(count) for count in (tp, fp, fn, tn))  # products of pooled counts leave int64
    scale: Counts = ((tp + fp) * (tp + fn)) ** 0.5 * ((tn + fp) * (tn + fn)) ** 0.5
    return _ratio(tp * tn - fp * fn, scale)


FROM_CONFUSION: dict[str, Callable[[Confusion], Any]] = {
    "dice": lambda c: dice(c.tp, c.fp, c.fn),
    "sensitivity": lambda c: sensitivity(c.tp, c.fn),
    "specificity": lambda c: specificity(c.tn, c.fp),
    "precision": lambda c: precision(c.tp, c.fp),
    "accuracy": lambda c: accuracy(c.tp, c.fp, c.fn, c.tn),
    "mcc": lambda c: mcc(c.tp, c.fp, c.fn, c.tn),
    "iou": lambda c: iou(c.tp, c.fp, c.fn),
}
"""Every rate by its reported name."""


def _as_float(count: Counts) -> Counts:
    """Counts in double precision, of the same kind."""
    if isinstance(count, (int, float, np.generic)):
        return float(count)
    if isinstance(count, np.ndarray):
        return count.astype(np.float64)
    return count.double()


def _ratio(numerator: Counts, denominator: Counts) -> Counts:
    """Divide in double precision; nan where the denominator is zero."""
    numerator, denominator = _as_float(numerator), _as_float(denominator)
    if isinstance(denominator, float):
        return numerator / denominator if denominator else float("nan")
    if isinstance(denominator, np.ndarray):
        empty = denominator == 0
        return np.where(empty, np.nan, numerator / np.where(empty, 1.0, denominator))
    return (numerator / denominator).masked_fill(denominator == 0, float("nan"))
