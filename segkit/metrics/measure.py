"""Numbers from scores, each with its class, region, averaging, threshold, the threshold's source, n and interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.core.errors import RequestError
from segkit.core.files import without_nan
from segkit.metrics.metrics import DEFAULT_METRICS, METRICS, check_metric
from segkit.metrics.region import AVERAGINGS, Averaging, Region
from segkit.metrics.score import Cut, ImageScore, regions_of
from segkit.metrics.significance import (
    FloatArray,
    PairedDifference,
    SeedMean,
    Statistic,
    bootstrap_interval,
    mean_of,
    paired_bootstrap,
    point_estimate,
)

ALL = "all classes"
"""Class name of summaries over classes: the mean over classes, or for accuracy the share of correct pixels."""


@dataclass(frozen=True)
class Measurement:
    """A number with all information for its interpretation."""

    metric: str
    class_name: str
    """A class, or "all classes" for a summary."""
    region: Region
    averaging: Averaging
    threshold: float | None
    """On probabilities; None for a metric that uses none, a multi-class prediction, and a threshold per image."""
    threshold_source: str
    """"fixed-0.5", "val-best-dice", "other-folds-best-dice" (one per fold, none of them chosen on the fold's images);
    "argmax" of a multi-class prediction; "none" for a metric that uses none."""
    n: int
    """Number of images; in a per-image mean, of those with a value."""
    num_groups: int
    """Number of their patients."""
    value: float
    low: float
    """Ends of the 95 % bootstrap interval over patients; nan for fewer than three."""
    high: float


@dataclass(frozen=True)
class Comparison(PairedDifference):
    """Run a minus run b in one metric, with all information for its interpretation."""

    metric: str
    class_name: str
    region: Region
    averaging: Averaging
    threshold_a: float | None
    threshold_b: float | None


def measure(
    scores: Sequence[ImageScore],
    cut: Cut,
    threshold_source: str,
    *,
    regions: Sequence[Region] = (),
    averagings: Sequence[Averaging] = AVERAGINGS,
    metrics: Sequence[str] = DEFAULT_METRICS,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[Measurement]:
    """The metrics, class by class, with 95 % bootstrap intervals over patients; of several, first all together.

    A metric whose reduction the images were not scored for at `cut` is left out. One of the whole label map has no
    values of single classes, and one of single images no pooled value. `regions` are by default those of `regions_of`.
    """
    if not scores:
        raise RequestError("there is no image to score")
    names = scores[0].class_names
    groups = [score.group for score in scores]
    measurements = []
    for class_name in (ALL, *names) if len(names) > 1 else names:
        for region in regions or regions_of(scores):
            for metric in metrics:
                if not all(score.has(METRICS[metric].reduction, cut) for score in scores):
                    continue
                if METRICS[metric].of_the_map and class_name != ALL and len(names) > 1:
                    continue
                pooled = pooled_statistic(scores, metric, region, cut, class_name)
                per_image = pooled(np.eye(len(scores), dtype=np.int64))
                for averaging in averagings:
                    if averaging == "pooled" and METRICS[metric].per_image_only:
                        continue
                    statistic = pooled if averaging == "pooled" else mean_of(per_image)
                    counted = np.isfinite(per_image) | (averaging == "pooled")
                    measurements.append(
                        Measurement(
                            metric,
                            class_name,
                            region,
                            averaging,
                            _threshold(metric, cut),
                            threshold_source if METRICS[metric].uses_prediction else "none",
                            int(counted.sum()),
                            len(set(compress(groups, counted))),
                            point_estimate(statistic, len(scores)),
                            *bootstrap_interval(
                                statistic, len(scores), groups=groups, num_resamples=num_resamples, seed=seed
                            ),
                        )
                    )
    return measurements


def _threshold(metric: str, cut: Cut) -> float | None:
    return cut if isinstance(cut, float) and METRICS[metric].uses_prediction else None


def compare(
    scores_a: Sequence[ImageScore],
    scores_b: Sequence[ImageScore],
    cut_a: Cut,
    cut_b: Cut,
    metric: str = "dice",
    *,
    class_name: str | None = None,
    averaging: Averaging = "pooled",
    num_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap of run a minus run b over the patients of the images they share, each at its own threshold.

    The region is the main one of `regions_of`, the class by default the only one, or all of several.

    Raises:
        RequestError: the runs do not hold the same images with the same labels and patients.
    """
    region = regions_of(scores_a)[0]
    scores_a, scores_b = _in_one_order(scores_a, scores_b, region)
    name = class_name or summary_class(scores_a)
    n, groups = len(scores_a), [score.group for score in scores_a]
    a = pooled_statistic(scores_a, metric, region, cut_a, name)
    b = pooled_statistic(scores_b, metric, region, cut_b, name)
    if averaging == "per-image":
        single = np.eye(n, dtype=np.int64)
        values_a, values_b = a(single), b(single)
        shared = np.isfinite(values_a) & np.isfinite(values_b)  # a mean over other images would not be paired
        n, groups = int(shared.sum()), list(compress(groups, shared))
        a, b = mean_of(values_a[shared]), mean_of(values_b[shared])
    paired = paired_bootstrap(a, b, n, groups=groups, num_resamples=num_resamples, seed=seed)
    return Comparison(**asdict(paired), metric=metric, class_name=name, region=region, averaging=averaging,
                      threshold_a=_threshold(metric, cut_a), threshold_b=_threshold(metric, cut_b))  # fmt: skip


def pooled_statistic(
    scores: Sequence[ImageScore], metric: str, region: Region, cut: Cut, class_name: str | None = None
) -> Statistic:
    """Pooled value of a metric under any multiplicities of the images.

    Args:
        class_name: the first class by default; `ALL` sums up all of them.

    Raises:
        RequestError: there is no such metric, or the images were not scored for it at `cut`.
    """
    check_metric(metric)
    chosen = METRICS[metric]
    names = scores[0].class_names
    if chosen.of_the_map:
        if class_name not in (None, ALL) and len(names) > 1:
            raise RequestError(f"{metric} is one number of all classes; {class_name} by itself has none")
        return chosen.statistic(np.stack([score.confusion_matrix(region, cut) for score in scores]))
    chosen_names = names if class_name == ALL else [class_name or names[0]]
    arrays = [np.stack([score.array(name, region, chosen.reduction, cut) for score in scores]) for name in chosen_names]
    if class_name != ALL:
        return chosen.statistic(arrays[0])
    if chosen.of_all_classes is not None:
        return chosen.of_all_classes(arrays)
    return _mean_over([chosen.statistic(array) for array in arrays])


def _mean_over(statistics: Sequence[Statistic]) -> Statistic:
    """The mean over the classes that have a value."""

    def mean(multiplicities: NDArray[np.int64]) -> FloatArray:
        values = np.stack([statistic(multiplicities) for statistic in statistics])
        known = np.isfinite(values)
        count = known.sum(axis=0)
        return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)

    return mean


def summary_class(scores: Sequence[ImageScore]) -> str:
    """The class name of a run's summary: the only class, or all of several."""
    names = scores[0].class_names
    return names[0] if len(names) == 1 else ALL


def pooled_value(scores: Sequence[ImageScore], metric: str, cut: Cut, region: Region = "fov") -> float:
    """The metric of all images together, of the only class or of all classes."""
    return point_estimate(pooled_statistic(scores, metric, region, cut, summary_class(scores)), len(scores))


def image_values(
    scores: Sequence[ImageScore], metric: str, region: Region, cut: Cut, class_name: str | None = None
) -> FloatArray:
    """The metric of each image by itself (n,), in the order of `scores`; nan where it has none."""
    return pooled_statistic(scores, metric, region, cut, class_name)(np.eye(len(scores), dtype=np.int64))


def find_measurement(
    measurements: Iterable[Measurement],
    metric: str,
    region: Region | None = None,
    averaging: Averaging = "pooled",
    threshold_source: str | None = None,
    class_name: str | None = None,
) -> Measurement | None:
    """The first matching measurement, or None; threshold-free metrics match any source, and None matches all.

    The first region is the field of view, or all pixels where the images have none.
    """
    for measurement in measurements:
        fits = (measurement.metric, measurement.averaging) == (metric, averaging)
        of_class = class_name in (None, measurement.class_name) and region in (None, measurement.region)
        at_source = threshold_source is None or measurement.threshold_source in (threshold_source, "none")
        if fits and of_class and at_source:
            return measurement
    return None


def has_interval(number: Measurement | PairedDifference | SeedMean) -> bool:
    """Whether the number has an interval; fewer than three patients give none."""
    return not math.isnan(number.low)


def to_json(record: Measurement | Comparison | PairedDifference) -> dict[str, object]:
    """The record as a plain dict; nan, which JSON does not have, becomes None."""
    return without_nan(asdict(record))


def from_json(record: dict[str, Any]) -> Measurement:
    """The measurement that `to_json` wrote. Raises RequestError on other keys."""
    known = {field.name for field in fields(Measurement)}
    if set(record) != known:
        raise RequestError(f"a measurement has the keys {', '.join(sorted(known))}, not {', '.join(sorted(record))}")
    numbers = {key: math.nan if record[key] is None else float(record[key]) for key in ("value", "low", "high")}
    return Measurement(**{**record, **numbers})


def _in_one_order(
    scores_a: Sequence[ImageScore], scores_b: Sequence[ImageScore], region: Region
) -> tuple[list[ImageScore], list[ImageScore]]:
    """Both runs sorted by name, checked to hold the same images and labels."""
    by_name_a, by_name_b = ({score.name: score for score in scores} for scores in (scores_a, scores_b))
    if not by_name_a or set(by_name_a) != set(by_name_b):
        unshared = ", ".join(sorted(set(by_name_a) ^ set(by_name_b))[:5]) or "none in either"
        raise RequestError(
            f"the runs hold {len(by_name_a)} and {len(by_name_b)} images, not the same ones (only one has: {unshared});"
            " a paired comparison needs both scored on the same images"
        )
    for name, a in by_name_a.items():
        b = by_name_b[name]
        for class_name in a.class_names:
            pixels = [(int(s.levels(class_name, region).positive.sum()), s.levels(class_name, region).num_pixels)
                      for s in (a, b) if class_name in s.class_names]  # fmt: skip
            if len(set(pixels)) != 1 or a.class_names != b.class_names:
                raise RequestError(
                    f"{name}: the runs were scored with other labels, {pixels} ({class_name}, all) pixels"
                )
        if a.group != b.group:
            raise RequestError(
                f"{name}: the runs were scored with other patients, {a.group} and {b.group}; score both with the same "
                "groups"
            )
    names = sorted(by_name_a)
    return [by_name_a[name] for name in names], [by_name_b[name] for name in names]
