"""Score maps on disk against a data set's labels: tables, numbers of each image, and notes."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path

import numpy as np

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import DatasetError, RequestError
from segkit.core.files import as_csv, sha256_file, without_nan
from segkit.core.manifest import Row
from segkit.core.wording import counted
from segkit.data import labels as labels_of
from segkit.data.fov import read_region
from segkit.data.readers import Part, image_files, open_dataset, part_of
from segkit.metrics.measure import ALL, Measurement, image_values, measure, to_json
from segkit.metrics.metrics import DEFAULT_METRICS, METRICS, reductions_for, with_default
from segkit.metrics.region import Region
from segkit.metrics.score import (
    ARGMAX,
    Cut,
    ImageScore,
    ScoredImage,
    binary_probs,
    is_binary,
    regions_of,
    score_images,
)
from segkit.metrics.significance import FloatArray
from segkit.metrics.tables import MAX_WIDTH, metric_tables, render
from segkit.tasks.prediction_folder import KINDS, Record, find_record, refuse_threshold

PARTS: tuple[Part, ...] = ("test", "training")
"""In the order they are printed."""


def scored_row(row: Row, path: Path, classes: Classes = VESSEL) -> ScoredImage:
    """A labelled row beside its map.

    Raises:
        ImageError: a file cannot be read.
        DatasetError: the map has another size than the labels.
    """
    assert row.reference is not None
    levels, labels = labels_of.read_levels(path, classes), labels_of.read_labels(row.reference, classes)
    if levels.shape[-2:] != labels.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (levels.shape[-2:], labels.shape)]
        raise DatasetError(f"{path} is {sizes[0]} pixels, the labels {sizes[1]}; give maps of that size")
    if set(np.unique(levels)) == {0, 257}:  # an 8-bit map of 0 and 1
        levels = binary_probs(levels > 0)
    return ScoredImage(row.name, levels, labels, read_region(row, classes), row.group, classes)


@dataclass(frozen=True)
class Threshold:
    """A threshold and its source; several classes have none."""

    value: float | None
    source: str
    """"val-best-dice", "fixed-0.5", "card" or "given"; "argmax" of several classes."""
    origin: str
    """The file or option of the threshold."""

    @property
    def cut(self) -> Cut:
        """The decision rule: a threshold or the argmax."""
        return ARGMAX if self.value is None else self.value


@dataclass(frozen=True)
class PartScores:
    """The scored images of one part of a data set."""

    part: Part
    rows: tuple[Row, ...]
    scores: Sequence[ImageScore]
    threshold: Threshold
    metrics: tuple[str, ...]
    entries: Mapping[str, Mapping[str, object]]
    """The entry of `predictions.json` of each image, by name; empty if it has none."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.scores[0].class_names

    @cached_property
    def measurements(self) -> list[Measurement]:
        """Every metric over all images of the part."""
        return measure(self.scores, self.threshold.cut, self.threshold.source, metrics=self.metrics)

    def _values(self, metric: str, region: Region, class_name: str) -> FloatArray:
        """The metric of each image; nan for a class that has none by itself."""
        if METRICS[metric].of_the_map and class_name != ALL and len(self.class_names) > 1:
            return np.full(len(self.scores), np.nan)
        return image_values(self.scores, metric, region, self.threshold.cut, class_name)

    def image_rows(self) -> list[dict[str, str | float | None]]:
        """Every metric of each image, region and class, of several also of all; nan where it has no meaning."""
        names = self.class_names if len(self.class_names) == 1 else (ALL, *self.class_names)
        regions = regions_of(self.scores)
        values = {
            (metric, region, name): self._values(metric, region, name)
            for metric in self.metrics
            for region in regions
            for name in names
        }
        return [
            {"name": row.name, "group": row.group, "part": self.part, "region": region}
            | {"class": name, "threshold": self.threshold.value}
            | {metric: float(values[metric, region, name][index]) for metric in self.metrics}
            for index, row in enumerate(self.rows)
            for region in regions
            for name in names
        ]

    def notes(self) -> list[str]:
        """Notes that a reader of the numbers needs."""
        notes = []
        estimated = [row.name for row in self.rows if row.region is None]
        if estimated and "fov" in regions_of(self.scores):
            notes.append(f"region fov: estimated from the image for {_some(estimated, len(self.rows))}")
        cut_off = [row.name for row in self.rows if row.region and self.entries[row.name].get("fov") == "estimated"]
        if cut_off:
            notes.append(
                "the maps are 0 outside a field of view that `segkit predict` estimated, not the data set's, for "
                f"{_some(cut_off, len(self.rows))}; `segkit predict --data` uses the data set's"
            )
        for metric in self.metrics:
            if METRICS[metric].on_request:
                values = {name: self._values(metric, "fov", name) for name in self.class_names}
                for name, missing in ((name, np.flatnonzero(np.isnan(v))) for name, v in values.items()):
                    if len(missing) and not (METRICS[metric].of_the_map and len(self.class_names) > 1):
                        without = _some([self.rows[index].name for index in missing], len(self.rows))
                        notes.append(
                            f"{metric} of {name} has no value where {METRICS[metric].undefined}, as in {without}"
                        )
        splits = {name: entry["model_split"] for name, entry in self.entries.items() if "model_split" in entry}
        for split, use in (("train", "trained on"), ("val", "chosen with")):
            used = [name for name, model_split in splits.items() if model_split == split]
            if used:
                notes.append(f"the model was {use} {_some(used, len(self.rows))}; its scores there are too high")
        if len(splits) == len(self.rows) and not any(splits.values()):
            notes.append(
                "none of these files was used to train or choose the model"
                " (by sha256; a picture saved anew counts as another)"
            )
        elif len(splits) < len(self.rows) and self.part == "training":
            notes.append("if the model was trained on some of these images, its scores on them are too high")
        return notes


def _some(names: list[str], of: int) -> str:
    return f"all {counted(of, 'image')}" if len(names) == of else f"{len(names)} of {of} images ({', '.join(names)})"


@dataclass(frozen=True)
class Evaluation:
    """The scores of a folder of maps."""

    data: str
    digest: str
    """Of the data set."""
    maps_dir: Path
    threshold: Threshold
    record: Record | None
    """`predictions.json`, if there is one."""
    parts: list[PartScores]
    missing: tuple[str, ...]
    """Labelled images without a map."""
    unrecorded: tuple[str, ...]
    """Images without an entry in `predictions.json`; their maps come from other files."""

    @property
    def binary(self) -> bool:
        """Whether the maps are binary."""
        return "auroc" not in self.parts[0].metrics

    def lines(self) -> Iterator[str]:
        """The evaluation as text of at most `MAX_WIDTH` columns."""
        if self.record is not None:
            views = f"test-time augmentation {self.record['tta']}, tile {self.record['tile'] or 'none'}"
            yield from _wrapped(f"model {self.record['weights']} ({self.record['weights_sha256'][:12]}), {views}")
        if self.threshold.value is None:
            yield from _wrapped("prediction: the most probable class")
        else:
            yield from _wrapped(
                f"threshold {self.threshold.value:.4f} ({self.threshold.source}) from {self.threshold.origin}"
            )
        if self.binary:
            left_out = ", ".join(name for name in DEFAULT_METRICS if not METRICS[name].uses_prediction)
            yield from _wrapped(f"binary maps: {left_out} need probabilities and are left out")
        for part in self.parts:
            yield ""
            yield from _wrapped(f"== {part.part} images {', '.join(row.name for row in part.rows)}")
            for note in part.notes():
                yield from _wrapped(f"note: {note}")
            for table in metric_tables(part.measurements):
                yield ""
                yield render(table, MAX_WIDTH).rstrip("\n")

    def image_rows(self) -> list[dict[str, str | float | None]]:
        """As `PartScores.image_rows`, all parts."""
        return [row for part in self.parts for row in part.image_rows()]

    def image_csv(self) -> str:
        """`image_rows` as CSV; nan is an empty cell."""
        return as_csv([without_nan(row) for row in self.image_rows()])

    def to_json(self) -> dict[str, object]:
        """Everything, for other programs."""
        model = None if self.record is None else {k: v for k, v in self.record.items() if k not in {"images", "runs"}}
        return {
            "data": self.data,
            "data_sha256": self.digest,
            "predictions": str(self.maps_dir),
            "model": model,
            "threshold": self.threshold.value,
            "threshold_source": self.threshold.source,
            "binary": self.binary,
            "not_predicted": list(self.missing),
            "notes": {part.part: part.notes() for part in self.parts},
            "measurements": [{"part": part.part, **to_json(m)} for part in self.parts for m in part.measurements],
            "images": [without_nan(row) for row in self.image_rows()],
        }


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, MAX_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def evaluate(
    predictions: str | Path,
    data: str,
    split: str = "all",
    threshold: float | None = None,
    group_pattern: str | None = None,
    metrics: Sequence[str] = (),
) -> Evaluation:
    """Score the maps of a data set's labelled images.

    A map is named like its image in the data set, as 21_training.png, or by the image's number, as 21.png. Where there
    is a `predictions.json`, it may lie in a sub-folder.

    Args:
        predictions: a folder of maps, or one that `segkit predict` or `Prediction.save` wrote, of which `probs/` is
            scored.
        data: the data set, as in drive:/data/DRIVE.
        split: "training", "test" or "all".
        threshold: on probabilities; by default that of `predictions.json` in or above the folder, else 0.5.
        group_pattern: finds the patient in an image's name, as `data.group_pattern` does.
        metrics: further metrics by name, as in docs/metrics.md; some are slow.

    Raises:
        RequestError: there is nothing to score, there is no such metric, or an argument has the wrong type or value.
        DatasetError: the data set cannot be read, two maps have one name, or a map has the wrong size.
        ImageError: a file cannot be read.
    """
    if not isinstance(predictions, str | Path) or not isinstance(data, str):
        raise RequestError(
            f"predictions is {predictions!r}, data {data!r}; give a folder, and text such as 'drive:/data/DRIVE'"
        )
    if split not in {"training", "test", "all"}:
        raise RequestError(f"split is {split!r}; give 'training', 'test' or 'all'")
    if threshold is not None and not (isinstance(threshold, Real) and 0 <= threshold <= 1):
        raise RequestError(f"threshold is {threshold!r}; give a number in [0, 1]")
    chosen = with_default([metrics] if isinstance(metrics, str) else metrics)
    dataset = open_dataset(data, group_pattern)
    predictions = Path(predictions)
    if not predictions.is_dir():
        raise RequestError(f"{predictions} is no folder; give the one that holds the maps")
    located = find_record(predictions)
    record = None if located is None else located[0]
    cut = _threshold(threshold, located, dataset.classes)
    _check_classes(record, dataset.classes, data)
    maps_dir = predictions / KINDS[0] if (predictions / KINDS[0]).is_dir() else predictions
    labelled = [row for row in dataset.rows if split in {"all", part_of(row)} and row.reference is not None]
    if not labelled:
        raise RequestError(f"{data} has no labels in its {split} part; nothing can be scored")
    maps = _maps(maps_dir, labelled, recursive=record is not None)
    if not maps:
        expected = f"{labelled[0].name}.png"
        raise RequestError(f"{predictions} holds no map of a labelled image; expected names such as {expected}")
    predicted = [row for row in labelled if row.name in maps]
    scores = score_images(
        (scored_row(row, maps[row.name], dataset.classes) for row in predicted),
        [] if cut.value is None else [cut.value],
        reductions_for(chosen),
    )
    rankable = not is_binary(scores)
    measured = tuple(name for name in chosen if METRICS[name].uses_prediction or rankable)
    entries = _entries(record, predicted)
    parts = []
    for part in PARTS:
        members = [(row, score) for row, score in zip(predicted, scores, strict=True) if part_of(row) == part]
        if members:
            rows, part_scores = zip(*members, strict=True)
            part_entries = {row.name: entries[row.name] for row in rows}
            parts.append(PartScores(part, rows, part_scores, cut, measured, part_entries))
    missing = tuple(row.name for row in labelled if row.name not in maps)
    unrecorded = tuple(name for name, entry in entries.items() if record is not None and not entry)
    return Evaluation(data, dataset.digest, maps_dir, cut, record, parts, missing, unrecorded)


def _threshold(threshold: float | None, located: tuple[Record, Path] | None, classes: Classes) -> Threshold:
    if threshold is not None:
        refuse_threshold(classes)
        return Threshold(threshold, "fixed-0.5" if threshold == 0.5 else "given", "--threshold")
    if classes.kind == "multiclass":
        return Threshold(None, ARGMAX, "the classes")
    if located is not None:
        record, path = located
        return Threshold(float(record["threshold"]), str(record["threshold_source"]), str(path))
    return Threshold(0.5, "fixed-0.5", "the default, as there is no predictions.json")


def _check_classes(record: Record | None, classes: Classes, data: str) -> None:
    predicted = classes.names if record is None else tuple(record.get("classes", {}).get("names", classes.names))
    if predicted != classes.names:
        raise RequestError(
            f"the maps are of {', '.join(predicted)}, and {data} has labels of {', '.join(classes.names)}; "
            "give maps of a model that was trained on the same classes"
        )


def _maps(folder: Path, rows: list[Row], recursive: bool) -> dict[str, Path]:
    """The map of each row, if it exists."""
    by_stem: dict[str, list[Path]] = {}
    for path in image_files(folder, recursive):
        by_stem.setdefault(path.stem, []).append(path)
    maps: dict[str, Path] = {}
    for row in rows:
        paths = by_stem.get(row.name) or by_stem.get(_number(row.name), [])
        if len(paths) > 1:
            raise DatasetError(f"{paths[0]} and {paths[1]} are both named like {row.name}; give the folder of one")
        if paths:
            maps[row.name] = paths[0]
    return maps


def _number(name: str) -> str:
    """The number at the beginning of an image's name, as 21 of 21_training; the whole name without one."""
    digits = name.split("_")[0]
    return digits if digits.isdigit() else name


def _entries(record: Record | None, rows: Sequence[Row]) -> dict[str, dict[str, object]]:
    """The record's entry for each row's image file, by the row's name; empty if it has none."""
    if record is None:
        return {row.name: {} for row in rows}
    by_digest = {entry.get("sha256"): entry for entry in record["images"].values()}
    return {row.name: by_digest.get(sha256_file(row.image.path), {}) for row in rows}
