"""Scores of one run: images in, numbers out that each say region, averaging, threshold, its source and n.

An image is reduced once to counts (`score_image`); every number, interval and comparison comes from those counts, so
they can be stored (`save_scores`) and two runs compared later without reading an image again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.core.errors import RequestError
from segkit.metrics import pooling
from segkit.metrics.confusion import FROM_CONFUSION
from segkit.metrics.curves import MAX_LEVEL, LevelCounts, best_dice_threshold, count_levels, first_vessel_level
from segkit.metrics.region import AVERAGINGS, REGIONS, Averaging, Region, region_pixels
from segkit.metrics.significance import (
    FloatArray,
    PairedDifference,
    Statistic,
    bootstrap_interval,
    mean_of,
    on_all,
    paired_bootstrap,
)
from segkit.metrics.topology import SkeletonCounts, skeleton_counts

THRESHOLD_FREE = {"auroc": pooling.auroc, "auprc": pooling.auprc, "log_loss": pooling.log_loss, "ece": pooling.ece}
"""Metrics of the probabilities themselves."""

METRICS = (*FROM_CONFUSION, "cldice", *THRESHOLD_FREE)
"""Every metric, in the order of a table."""


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """A prediction beside its truth, at the image's own size."""

    name: str
    probs: NDArray[Any]
    """uint16 (h, w), vessel probability times 65535; a second observer's map is 0 and 65535."""
    vessels: NDArray[np.bool_]
    """(h, w)"""
    fov: NDArray[np.bool_]
    """(h, w)"""
    group: str = ""
    """The patient; the image's own name by default."""


@dataclass(frozen=True, eq=False)
class ImageScore:
    """All that scoring needs to know of one image."""

    name: str
    counts: dict[Region, LevelCounts]
    skeletons: dict[Region, dict[float, SkeletonCounts]]
    """By the threshold the prediction was cut at; clDice exists only at these."""
    group: str
    """The patient. Intervals and tests never treat images of one patient as independent."""


@dataclass(frozen=True)
class Measurement:
    """One number with everything needed to read it."""

    metric: str
    class_name: str
    region: Region
    averaging: Averaging
    threshold: float | None
    """On probabilities; None for a metric that uses none."""
    threshold_source: str
    """"fixed-0.5", "val-best-dice", ...; "none" for a metric that uses none."""
    n: int
    """Images the number stands on; in a per-image mean, those that have a value."""
    num_groups: int
    """Patients that these images are of."""
    value: float
    low: float
    """Ends of the 95 % bootstrap interval over patients; nan for fewer than three."""
    high: float


@dataclass(frozen=True)
class Comparison(PairedDifference):
    """Run a minus run b in one metric, with everything needed to read it."""

    metric: str
    class_name: str
    region: Region
    averaging: Averaging
    threshold_a: float | None
    threshold_b: float | None


def score_image(image: ScoredImage, thresholds: Sequence[float] = (0.5,)) -> ImageScore:
    """Reduce one image to counts; clDice is prepared for each of `thresholds`.

    Raises RequestError if the arrays differ in size or `probs` is not 16 bit.
    """
    if not image.probs.shape == image.vessels.shape == image.fov.shape:
        raise RequestError(
            f"{image.name}: prediction {image.probs.shape}, vessels {image.vessels.shape} and fov {image.fov.shape} "
            "differ in size; predictions are scored at the image's own size"
        )
    if image.probs.dtype != np.uint16:
        raise RequestError(f"{image.name}: probabilities are {image.probs.dtype}, not 16 bit; write them as 16-bit PNG")
    vessels = image.vessels.astype(bool)
    counts: dict[Region, LevelCounts] = {}
    skeletons: dict[Region, dict[float, SkeletonCounts]] = {}
    for region in REGIONS:
        inside = region_pixels(region, image.fov)
        counts[region] = count_levels(image.probs, vessels, inside)
        skeletons[region] = {
            threshold: skeleton_counts(image.probs >= first_vessel_level(threshold), vessels, inside)
            for threshold in thresholds
        }
    return ImageScore(image.name, counts, skeletons, image.group or image.name)


def score_images(images: Iterable[ScoredImage], thresholds: Sequence[float] = (0.5,)) -> list[ImageScore]:
    """Reduce the images one after the other, so an iterator need not hold them all; names must differ."""
    scores = [score_image(image, thresholds) for image in images]
    names = [score.name for score in scores]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError(f"images are named twice: {', '.join(repeated)}; each image is scored once")
    return scores


def choose_threshold(scores: Sequence[ImageScore], region: Region = "fov") -> float:
    """Threshold with the best pooled Dice ("val-best-dice"); for validation images only.

    Raises RequestError without vessel pixels.
    """
    pooled = pool(scores, region)
    if pooled.vessel.sum() == 0:
        raise RequestError(f"no vessel pixel in the {len(scores)} images (region {region}); cannot choose a threshold")
    return best_dice_threshold(pooled)


def pool(scores: Sequence[ImageScore], region: Region) -> LevelCounts:
    """Pixels of all images together."""
    if not scores:
        raise RequestError("there is no image to score")
    pooled = scores[0].counts[region]
    for score in scores[1:]:
        pooled += score.counts[region]
    return pooled


def measure(
    scores: Sequence[ImageScore],
    threshold: float,
    threshold_source: str,
    *,
    regions: Sequence[Region] = REGIONS,
    averagings: Sequence[Averaging] = AVERAGINGS,
    metrics: Sequence[str] = METRICS,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[Measurement]:
    """Every metric, region by region and averaging by averaging, with 95 % bootstrap intervals over patients.

    clDice is left out where the images were not scored at `threshold`.
    """
    if not scores:
        raise RequestError("there is no image to score")
    has_skeletons = all(threshold in by_threshold for score in scores for by_threshold in score.skeletons.values())
    groups = [score.group for score in scores]
    measurements = []
    for region in regions:
        for metric in metrics:
            if metric == "cldice" and not has_skeletons:
                continue
            pooled = pooled_statistic(scores, metric, region, threshold)
            per_image = pooled(np.eye(len(scores), dtype=np.int64))
            for averaging in averagings:
                statistic = pooled if averaging == "pooled" else mean_of(per_image)
                counted = np.isfinite(per_image) | (averaging == "pooled")
                measurements.append(
                    Measurement(
                        metric,
                        "vessel",
                        region,
                        averaging,
                        None if metric in THRESHOLD_FREE else threshold,
                        "none" if metric in THRESHOLD_FREE else threshold_source,
                        int(counted.sum()),
                        len(set(compress(groups, counted))),
                        on_all(statistic, len(scores)),
                        *bootstrap_interval(
                            statistic, len(scores), groups=groups, num_resamples=num_resamples, seed=seed
                        ),
                    )
                )
    return measurements


def compare(
    scores_a: Sequence[ImageScore],
    scores_b: Sequence[ImageScore],
    threshold_a: float,
    threshold_b: float,
    metric: str = "dice",
    *,
    region: Region = "fov",
    averaging: Averaging = "pooled",
    num_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap of run a minus run b over the patients of the images they share, each at its own threshold.

    Raises RequestError unless both hold the same images with the same labels and patients.
    """
    scores_a, scores_b = _in_one_order(scores_a, scores_b, region)
    n, groups = len(scores_a), [score.group for score in scores_a]
    a = pooled_statistic(scores_a, metric, region, threshold_a)
    b = pooled_statistic(scores_b, metric, region, threshold_b)
    if averaging == "per-image":
        each = np.eye(n, dtype=np.int64)
        values_a, values_b = a(each), b(each)
        shared = np.isfinite(values_a) & np.isfinite(values_b)  # a mean over other images would not be paired
        n, groups = int(shared.sum()), list(compress(groups, shared))
        a, b = mean_of(values_a[shared]), mean_of(values_b[shared])
    paired = paired_bootstrap(a, b, n, groups=groups, num_resamples=num_resamples, seed=seed)
    thresholds = (None, None) if metric in THRESHOLD_FREE else (threshold_a, threshold_b)
    return Comparison(**asdict(paired), metric=metric, class_name="vessel", region=region, averaging=averaging,
                      threshold_a=thresholds[0], threshold_b=thresholds[1])  # fmt: skip


def pooled_statistic(scores: Sequence[ImageScore], metric: str, region: Region, threshold: float) -> Statistic:
    """Pooled value of `metric` under any multiplicities of the images."""
    counts = [score.counts[region] for score in scores]
    if metric in FROM_CONFUSION:
        return pooling.confusion_metric(metric, counts, threshold)
    if metric in THRESHOLD_FREE:
        return THRESHOLD_FREE[metric](counts)
    if metric != "cldice":
        raise RequestError(f"unknown metric {metric!r}; there are {', '.join(METRICS)}")
    if lacking := [score.name for score in scores if threshold not in score.skeletons[region]]:
        raise RequestError(
            f"{lacking[0]} was not scored for clDice at threshold {threshold}; score the run again with it"
        )
    return pooling.cldice([score.skeletons[region][threshold] for score in scores])


def image_values(scores: Sequence[ImageScore], metric: str, region: Region, threshold: float) -> FloatArray:
    """The metric of each image by itself (n,), in the order of `scores`; nan where it has none."""
    return pooled_statistic(scores, metric, region, threshold)(np.eye(len(scores), dtype=np.int64))


def find(
    measurements: Iterable[Measurement],
    metric: str,
    region: Region = "fov",
    averaging: Averaging = "pooled",
    threshold_source: str | None = None,
) -> Measurement | None:
    """First measurement that fits, None if there is none; a threshold-free metric fits any source, as does None."""
    sources = {threshold_source, "none"}
    for found in measurements:
        fits = (found.metric, found.region, found.averaging) == (metric, region, averaging)
        if fits and (threshold_source is None or found.threshold_source in sources):
            return found
    return None


def to_json(record: Measurement | Comparison | PairedDifference) -> dict[str, Any]:
    """The record as a plain dict; nan, which JSON has not, becomes None."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(record).items()
    }


def from_json(record: dict[str, Any]) -> Measurement:
    """The measurement that `to_json` wrote. Raises RequestError on other keys."""
    known = {field.name for field in fields(Measurement)}
    if set(record) != known:
        raise RequestError(f"a measurement has the keys {', '.join(sorted(known))}, not {', '.join(sorted(record))}")
    numbers = {key: math.nan if record[key] is None else float(record[key]) for key in ("value", "low", "high")}
    return Measurement(**{**record, **numbers})


def save_scores(scores: Sequence[ImageScore], path: Path) -> None:
    """Write the counts of all images as one compressed .npz."""
    arrays: dict[str, Any] = {
        key: np.array([getattr(score, key[:-1]) for score in scores]) for key in ("names", "groups")
    }
    for region in REGIONS:
        both = [np.stack([score.counts[region].vessel, score.counts[region].background]) for score in scores]
        arrays[f"{region}/counts"] = np.stack(both).astype(np.uint32)
        thresholds = sorted(set.intersection(*(set(score.skeletons[region]) for score in scores)))
        arrays[f"{region}/thresholds"] = np.array(thresholds, dtype=np.float64)
        rows = [[score.skeletons[region][threshold] for threshold in thresholds] for score in scores]
        arrays[f"{region}/skeletons"] = np.array(rows, dtype=np.int64).reshape(len(scores), len(thresholds), 4)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_scores(path: Path) -> list[ImageScore]:
    """Read what `save_scores` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    scores = []
    for index, (name, group) in enumerate(zip(arrays["names"], arrays["groups"], strict=True)):
        counts: dict[Region, LevelCounts] = {}
        skeletons: dict[Region, dict[float, SkeletonCounts]] = {}
        for region in REGIONS:
            counts[region] = LevelCounts(*arrays[f"{region}/counts"][index].astype(np.int64))
            cut_at = zip(arrays[f"{region}/thresholds"], arrays[f"{region}/skeletons"][index], strict=True)
            skeletons[region] = {float(threshold): SkeletonCounts(*map(int, row)) for threshold, row in cut_at}
        scores.append(ImageScore(str(name), counts, skeletons, str(group)))
    return scores


def is_binary(scores: Iterable[ImageScore]) -> bool:
    """Whether no prediction holds a probability between 0 and 1, so that `THRESHOLD_FREE` metrics mean nothing."""
    counts = [score.counts["all-pixels"] for score in scores]
    return not any((levels.vessel + levels.background)[1:-1].any() for levels in counts)


def binary_probs(vessels: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """A hard map as probabilities 0 and 1, so that a second observer is scored like any run."""
    return np.where(vessels, np.uint16(MAX_LEVEL), np.uint16(0))


def _in_one_order(
    scores_a: Sequence[ImageScore], scores_b: Sequence[ImageScore], region: Region
) -> tuple[list[ImageScore], list[ImageScore]]:
    """Both runs sorted by name, once it is certain that they hold the same images and labels."""
    by_name_a, by_name_b = ({score.name: score for score in scores} for scores in (scores_a, scores_b))
    if not by_name_a or set(by_name_a) != set(by_name_b):
        odd = ", ".join(sorted(set(by_name_a) ^ set(by_name_b))[:5]) or "none in either"
        raise RequestError(
            f"the runs hold {len(by_name_a)} and {len(by_name_b)} images, not the same ones (only one has: {odd}); "
            "a paired comparison needs both scored on the same images"
        )
    for name, a in by_name_a.items():
        seen = [(int(s.counts[region].vessel.sum()), s.counts[region].num_pixels) for s in (a, by_name_b[name])]
        if seen[0] != seen[1]:
            raise RequestError(
                f"{name}: the runs were scored with other labels, {seen[0]} and {seen[1]} (vessel, all) pixels"
            )
        if a.group != by_name_b[name].group:
            raise RequestError(
                f"{name}: the runs were scored with other patients, {a.group} and {by_name_b[name].group}; score both "
                "with the same groups"
            )
    names = sorted(by_name_a)
    return [by_name_a[name] for name in names], [by_name_b[name] for name in names]
