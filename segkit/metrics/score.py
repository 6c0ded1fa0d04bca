"""Scores of predictions: each image is reduced once to small arrays per class and region.

Every number, interval and comparison comes from these arrays, so they can be stored (`save_scores`) and two runs
compared later without reading an image again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import RequestError
from segkit.core.names import check_unique
from segkit.metrics.curves import MAX_LEVEL, LevelCounts, best_dice_threshold, confusion_at, first_positive_level
from segkit.metrics.reductions import FAST_REDUCTIONS, REDUCTIONS, ClassMaps, Counts, Sums, as_level_counts
from segkit.metrics.region import REGIONS, Region, region_pixels

Cut = float | Literal["argmax", "own"]
"""The rule that turns probabilities into a prediction: a threshold in a binary task, else the most probable class."""

ARGMAX: Literal["argmax"] = "argmax"
OWN: Literal["own"] = "own"
"""A threshold for each image, as in cross-validation (`at_own_threshold`)."""


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """Prediction and truth of an image, at its own size."""

    name: str
    probs: NDArray[Any]
    """uint16, probability times 65535: (h, w) in a binary task, (k, h, w) for k classes."""
    labels: NDArray[Any]
    """(h, w): bool in a binary task, class indices for several classes."""
    region: NDArray[np.bool_]
    """(h, w) pixels that count, such as the field of view."""
    group: str = ""
    """The patient; the image's own name by default."""
    classes: Classes = VESSEL


class Key(NamedTuple):
    """Which array of an image."""

    class_name: str
    region: Region
    reduction: str
    cut: Cut | None
    """None where the reduction does not depend on one."""


@dataclass(frozen=True, eq=False)
class ImageScore:
    """The arrays of one image for all metrics."""

    name: str
    group: str
    """The patient. Intervals and tests never treat images of one patient as independent."""
    arrays: dict[Key, Counts | Sums]

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the classes."""
        return tuple(dict.fromkeys(key.class_name for key in self.arrays))

    def array(self, class_name: str, region: Region, reduction: str, cut: Cut) -> Counts | Sums:
        """The array of a reduction. A confusion at any threshold follows from the level counts.

        Raises:
            RequestError: the image was not scored at this cut.
        """
        key = Key(class_name, region, reduction, cut if REDUCTIONS[reduction].needs_prediction else None)
        if key not in self.arrays and reduction == "confusion" and isinstance(cut, float):
            return np.array(confusion_at(self.levels(class_name, region), cut), dtype=np.int64)
        if key not in self.arrays:
            raise RequestError(f"{self.name} was not scored for {reduction} at {cut}; score the run again with it")
        return self.arrays[key]

    def confusion_matrix(self, region: Region, cut: Cut) -> Counts:
        """Pixels by true class (row) and predicted class (column); a binary task has two, the rest first.

        Raises:
            RequestError: the image was not scored at this cut.
        """
        if len(self.class_names) > 1:
            return np.stack([self.array(name, region, "joint", cut) for name in self.class_names])
        tp, fp, fn, tn = self.array(self.class_names[0], region, "confusion", cut)
        return np.array([[tn, fp], [fn, tp]])

    def has(self, reduction: str, cut: Cut) -> bool:
        """Whether the reduction's array at this cut is known."""
        if reduction == "joint" and len(self.class_names) == 1:
            reduction = "confusion"
        derived = reduction == "confusion" and isinstance(cut, float)
        return derived or any(key.reduction == reduction and key.cut in (cut, None) for key in self.arrays)

    def levels(self, class_name: str, region: Region) -> LevelCounts:
        """Pixels of the class and of the rest by level of probability."""
        return as_level_counts(self.arrays[Key(class_name, region, "levels", None)])


def score_image(
    image: ScoredImage, thresholds: Sequence[float] = (0.5,), reductions: Sequence[str] = FAST_REDUCTIONS
) -> ImageScore:
    """Reduce one image to arrays.

    Args:
        thresholds: binary tasks: where probabilities are cut for what depends on the shape of the prediction (clDice).

    Raises:
        RequestError: the arrays differ in size, or `probs` is not 16 bit.
    """
    _check_arrays(image)
    binary = image.classes.kind == "binary"
    arrays: dict[Key, Counts | Sums] = {}
    best = None if binary else image.probs.argmax(axis=0)
    for region in REGIONS:
        pixels = region_pixels(region, image.region)
        if not binary:
            pixels &= image.classes.valid_pixels(image.labels)
        for class_name, levels, truth, predictions in _classes(image, thresholds):
            for name in reductions:
                reduction = REDUCTIONS[name]
                if binary and name in ("confusion", "joint"):
                    continue  # they follow from the levels, at any threshold
                if not reduction.needs_prediction:
                    maps = ClassMaps(levels, truth, truth, pixels)
                    arrays[Key(class_name, region, name, None)] = reduction.reduce(maps)
                    continue
                for cut, prediction in predictions.items():
                    maps = ClassMaps(levels, prediction, truth, pixels, best, image.classes.num_channels)
                    arrays[Key(class_name, region, name, cut)] = reduction.reduce(maps)
    return ImageScore(image.name, image.group or image.name, arrays)


_Class = tuple[str, NDArray[np.uint16], NDArray[np.bool_], dict[Cut, NDArray[np.bool_]]]


def _classes(image: ScoredImage, thresholds: Sequence[float]) -> Iterator[_Class]:
    """Name, levels, truth and predictions of each class."""
    names = image.classes.names
    if image.classes.kind == "binary":
        predictions: dict[Cut, NDArray[np.bool_]] = {
            threshold: np.asarray(image.probs >= first_positive_level(threshold)) for threshold in thresholds
        }
        yield names[0], image.probs, image.labels.astype(bool), predictions
        return
    best = image.probs.argmax(axis=0)
    for index, name in enumerate(names):
        yield name, image.probs[index], image.labels == index, {ARGMAX: best == index}


def _check_arrays(image: ScoredImage) -> None:
    expected = image.region.shape
    planes = expected if image.classes.kind == "binary" else (image.classes.num_channels, *expected)
    if image.probs.shape != planes or image.labels.shape != expected:
        raise RequestError(
            f"{image.name}: prediction {image.probs.shape}, labels {image.labels.shape} and region {expected} "
            "differ in size; predictions are scored at the image's own size"
        )
    if image.probs.dtype != np.uint16:
        raise RequestError(f"{image.name}: probabilities are {image.probs.dtype}, not 16 bit; write them as 16 bit")


def score_images(
    images: Iterable[ScoredImage], thresholds: Sequence[float] = (0.5,), reductions: Sequence[str] = FAST_REDUCTIONS
) -> list[ImageScore]:
    """Reduce the images one after the other, so that an iterator need not hold them all; names must differ."""
    scores = [score_image(image, thresholds, reductions) for image in images]
    check_unique((score.name for score in scores), RequestError, "scored images")
    return scores


def at_own_threshold(score: ImageScore, threshold: float) -> ImageScore:
    """The score of a binary task with its arrays at `threshold` under the cut `OWN`.

    So images with different thresholds are pooled. The image must have been scored at `threshold`.
    """
    arrays = {
        key._replace(cut=OWN) if key.cut == threshold else key: array
        for key, array in score.arrays.items()
        if key.cut in (threshold, None)
    }
    for name in score.class_names:
        for region in REGIONS:
            arrays[Key(name, region, "confusion", OWN)] = score.array(name, region, "confusion", threshold)
    return ImageScore(score.name, score.group, arrays)


def threshold_of(cut: Cut) -> float:
    """The cut if it is a threshold, else 0.5."""
    return cut if isinstance(cut, float) else 0.5


def choose_threshold(scores: Sequence[ImageScore]) -> float:
    """Threshold of a binary task with the best pooled Dice inside the field of view; for validation images only.

    Raises:
        RequestError: there is no positive pixel.
    """
    pooled = pool(scores, "fov")
    if pooled.positive.sum() == 0:
        raise RequestError(
            f"no {scores[0].class_names[0]} pixel in the {len(scores)} images (region fov); cannot choose a threshold"
        )
    return best_dice_threshold(pooled)


def choose_cut(scores: Sequence[ImageScore]) -> tuple[Cut, str]:
    """The decision rule and its source: the best threshold on validation images, or the argmax.

    Raises:
        RequestError: as `choose_threshold`.
    """
    if len(scores[0].class_names) > 1:
        return ARGMAX, ARGMAX
    return choose_threshold(scores), "val-best-dice"


def regions_of(scores: Sequence[ImageScore]) -> tuple[Region, ...]:
    """The regions to report, the main one first: only all pixels where no image has a smaller field of view."""
    names = {region: [s.levels(s.class_names[0], region).num_pixels for s in scores] for region in REGIONS}
    return ("all-pixels",) if names["fov"] == names["all-pixels"] else REGIONS


def pool(scores: Sequence[ImageScore], region: Region, class_name: str | None = None) -> LevelCounts:
    """Level counts of a class (the first by default) of all images together."""
    if not scores:
        raise RequestError("there is no image to score")
    name = class_name or scores[0].class_names[0]
    pooled = scores[0].levels(name, region)
    for score in scores[1:]:
        pooled += score.levels(name, region)
    return pooled


def save_scores(scores: Sequence[ImageScore], path: Path) -> None:
    """Write the arrays of all images as one compressed .npz."""
    arrays: dict[str, Any] = {"names": [score.name for score in scores], "groups": [score.group for score in scores]}
    keys = [key for key in scores[0].arrays if all(key in score.arrays for score in scores)]
    arrays["keys"] = [[str(part) for part in key] for key in keys]
    for number, key in enumerate(keys):
        stacked = np.stack([score.arrays[key] for score in scores])
        arrays[f"array{number}"] = stacked.astype(np.uint32) if key.reduction == "levels" else stacked
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_scores(path: Path) -> list[ImageScore]:
    """Read what `save_scores` wrote."""
    with np.load(path, allow_pickle=False) as file:
        stored = dict(file)
    keys = [Key(name, region, reduction, _read_cut(cut)) for name, region, reduction, cut in stored["keys"].tolist()]
    per_key = [stored[f"array{number}"] for number in range(len(keys))]
    per_key = [array if array.dtype == np.float64 else array.astype(np.int64) for array in per_key]
    return [
        ImageScore(str(name), str(group), {key: array[index] for key, array in zip(keys, per_key, strict=True)})
        for index, (name, group) in enumerate(zip(stored["names"], stored["groups"], strict=True))
    ]


def _read_cut(text: str) -> Cut | None:
    if text == "None":
        return None
    return ARGMAX if text == ARGMAX else OWN if text == OWN else float(text)


def is_binary(scores: Iterable[ImageScore]) -> bool:
    """Whether no prediction holds a probability between 0 and 1, so that metrics of probabilities mean nothing."""
    counts = (score.levels(name, "all-pixels") for score in scores for name in score.class_names)
    return not any((levels.positive + levels.negative)[1:-1].any() for levels in counts)


def binary_probs(labels: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """A hard map as probabilities 0 and 1, so that a second observer is scored like any run."""
    return np.where(labels, np.uint16(MAX_LEVEL), np.uint16(0))
