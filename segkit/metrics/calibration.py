"""Temperature scaling of probabilities, and their calibration before and after it (Guo 2017).

A temperature T divides the logits, which raises probabilities to the power 1 / T: a network that is too sure of itself
gets T > 1. Order and most probable class stay the same. It is fitted on pixels that did not train the network.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from segkit.metrics.curves import (
    HALF_LEVEL,
    LEVEL_PROBS,
    MAX_LEVEL,
    NUM_LEVELS,
    FloatArray,
    LevelCounts,
    expected_calibration_error,
    quantise,
    reliability,
)

LOWEST, HIGHEST = 0.1, 10.0
"""Temperatures are fitted between these."""
MAX_PIXELS = 200_000
"""Of one image, for several classes; more are thinned out evenly."""


class Pixels(NamedTuple):
    """Pixels inside the region, those of the same probabilities in one row."""

    probs: FloatArray
    """(m, k) of each class; a binary task has two, the rest first."""
    counts: FloatArray
    """(m, k) pixels by true class."""

    @classmethod
    def of_levels(cls, levels: LevelCounts) -> "Pixels":
        """Of a binary task. The outermost levels count as half a level from 0 and 1."""
        occurring = np.flatnonzero(levels.positive + levels.negative)
        probs = np.clip(LEVEL_PROBS, HALF_LEVEL, 1 - HALF_LEVEL)[occurring]
        counts = np.stack([levels.negative[occurring], levels.positive[occurring]], axis=1)
        return cls(np.stack([1 - probs, probs], axis=1), counts.astype(np.float64))

    @classmethod
    def of_map(cls, levels: NDArray[np.uint16], labels: NDArray[np.generic], region: NDArray[np.bool_]) -> "Pixels":
        """Of k classes: stored probabilities (k, h, w), class indices (h, w) and the pixels that count (h, w)."""
        step = max(1, int(region.sum()) // MAX_PIXELS)
        probs = np.clip(levels[:, region][:, ::step].T / MAX_LEVEL, HALF_LEVEL, None)
        truth = labels[region][::step].astype(np.int64)
        return cls(probs / probs.sum(axis=1, keepdims=True), np.eye(len(levels))[truth])

    @classmethod
    def pool(cls, parts: Sequence["Pixels"]) -> "Pixels":
        """The pixels of all parts."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def tempered(probs: NDArray[Any], temperature: float) -> NDArray[Any]:
    """Probabilities of logits divided by the temperature.

    Args:
        probs: (k, ...) of all classes; (1, ...) of the positive class in a binary task.
        temperature: positive; 1 changes nothing.
    """
    if temperature == 1:
        return probs
    powers = probs.astype(np.float64) ** (1 / temperature)
    rest = (1 - probs.astype(np.float64)) ** (1 / temperature) if len(probs) == 1 else 0
    return np.asarray(powers / (powers.sum(axis=0) + rest), dtype=probs.dtype)


def tempered_threshold(threshold: float, temperature: float) -> float:
    """The threshold on tempered probabilities that gives the same prediction; a negative power undoes it."""
    return float(tempered(np.array([threshold]), temperature)[0])


def log_loss(pixels: Pixels, temperature: float = 1.0) -> float:
    """Mean of -ln(probability of the true class), in nats."""
    logits = np.log(pixels.probs) / temperature
    largest = logits.max(axis=1, keepdims=True)
    log_probs = logits - largest - np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
    return -float((pixels.counts * log_probs).sum() / pixels.counts.sum())


def fit_temperature(pixels: Pixels) -> float:
    """The temperature with the least log loss, which has one minimum in 1 / T."""
    from scipy.optimize import minimize_scalar

    fitted = minimize_scalar(
        lambda inverse: log_loss(pixels, 1 / inverse),
        bounds=(1 / HIGHEST, 1 / LOWEST),
        method="bounded",
        options={"xatol": 1e-5},
    )
    return 1 / float(fitted.x)


def calibration(folds: Sequence[Pixels], class_names: Sequence[str]) -> dict[str, JsonValue]:
    """The temperature of all folds, and calibration before it and after it, as JSON.

    `before` and `after` hold `log_loss`, `ece` (of several classes the mean) and, by class, `reliability`: the pixels
    of equally wide bins of probability, their mean probability and the share that is positive. For `after` each fold is
    tempered with the temperature of the other folds, `fold_temperatures`.

    Args:
        folds: pixels of each; at least two.
        class_names: of a binary task one, else of all classes.
    """
    others = [Pixels.pool([*folds[:number], *folds[number + 1 :]]) for number in range(len(folds))]
    temperatures = [fit_temperature(pixels) for pixels in others]
    return {
        "temperature": fit_temperature(Pixels.pool(folds)),
        "fold_temperatures": [*temperatures],
        "before": _calibration_at(folds, [1.0] * len(folds), class_names),
        "after": _calibration_at(folds, temperatures, class_names),
    }


def _calibration_at(
    folds: Sequence[Pixels], temperatures: Sequence[float], class_names: Sequence[str]
) -> dict[str, JsonValue]:
    num_pixels = [float(pixels.counts.sum()) for pixels in folds]
    losses = [log_loss(pixels, temperature) for pixels, temperature in zip(folds, temperatures, strict=True)]
    bins = {}
    for number, name in enumerate(class_names, start=len(class_names) == 1):
        parts = [_levels_of(pixels, number, at) for pixels, at in zip(folds, temperatures, strict=True)]
        bins[name] = reliability(sum(parts[1:], parts[0]))
    table: dict[str, JsonValue] = {
        name: {
            "num_pixels": sums.num_pixels.tolist(),
            "mean_prob": (sums.sum_probs / np.maximum(sums.num_pixels, 1)).tolist(),
            "positive_share": (sums.num_positive / np.maximum(sums.num_pixels, 1)).tolist(),
        }
        for name, sums in bins.items()
    }
    return {
        "log_loss": float(np.average(losses, weights=num_pixels)),
        "ece": float(np.mean([expected_calibration_error(sums) for sums in bins.values()])),
        "reliability": table,
    }


def _levels_of(pixels: Pixels, number: int, temperature: float) -> LevelCounts:
    """One class at a temperature, by level of probability."""
    levels = quantise(tempered(pixels.probs.T, temperature)[number])
    positive = pixels.counts[:, number]
    counts = [
        np.rint(np.bincount(levels, weights, NUM_LEVELS)).astype(np.int64)
        for weights in (positive, pixels.counts.sum(axis=1) - positive)
    ]
    return LevelCounts(*counts)
