"""Maps on disk scored against a data set's labels: numbers, numbers of each image, and what should be said of them."""

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from segkit.core import images
from segkit.core.errors import DatasetError, RequestError
from segkit.core.files import sha256_file
from segkit.core.manifest import Row
from segkit.core.wording import counted
from segkit.data.fov import read_fov
from segkit.data.readers import Item, Part, image_files, open_dataset
from segkit.metrics.region import REGIONS
from segkit.metrics.score import (
    METRICS,
    THRESHOLD_FREE,
    ImageScore,
    Measurement,
    ScoredImage,
    binary_probs,
    image_values,
    is_binary,
    measure,
    score_images,
    to_json,
)
from segkit.metrics.tables import MAX_WIDTH, metric_tables, render
from segkit.tasks.prediction_folder import KINDS, Record, find_record

PARTS: tuple[Part, ...] = ("test", "training")
"""In the order they are printed."""


def scored_row(row: Row, path: Path) -> ScoredImage:
    """A labelled row beside its map.

    Raises:
        ImageError: a file cannot be read.
        DatasetError: the map has another size than the labels.
    """
    assert row.vessels is not None
    levels, vessels = images.read_levels(path), images.read_mask(row.vessels)
    if levels.shape != vessels.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (levels.shape, vessels.shape)]
        raise DatasetError(f"{path} is {sizes[0]} pixels, the labels {sizes[1]}; give maps of that size")
    if set(np.unique(levels)) == {0, 257}:  # an 8-bit map of 0 and 1
        levels = binary_probs(levels > 0)
    return ScoredImage(row.name, levels, vessels, read_fov(row), row.group)


@dataclass(frozen=True)
class Cut:
    """A threshold and where it comes from."""

    threshold: float
    source: str
    """"val-best-dice", "fixed-0.5" or "given"."""
    origin: str
    """The file or option that says so."""


@dataclass(frozen=True)
class PartScores:
    """The scored images of one part of a data set."""

    part: Part
    items: tuple[Item, ...]
    scores: Sequence[ImageScore]
    cut: Cut
    metrics: tuple[str, ...]
    entries: Mapping[str, Mapping[str, Any]]
    """The entry of `predictions.json` for each image, by name; empty where it has none."""

    @cached_property
    def measurements(self) -> list[Measurement]:
        """Every metric over all images of the part."""
        return measure(self.scores, self.cut.threshold, self.cut.source, metrics=self.metrics)

    def image_rows(self) -> list[dict[str, Any]]:
        """Every metric of each image and region; nan where it has no meaning."""
        values = {
            (metric, region): image_values(self.scores, metric, region, self.cut.threshold)
            for metric in self.metrics
            for region in REGIONS
        }
        return [
            {"name": item.name, "group": item.group, "part": self.part, "region": region}
            | {"threshold": self.cut.threshold}
            | {metric: float(values[metric, region][index]) for metric in self.metrics}
            for index, item in enumerate(self.items)
            for region in REGIONS
        ]

    def notes(self) -> list[str]:
        """What a reader of the numbers must know of the images."""
        notes = []
        estimated = [item.name for item in self.items if item.fov is None]
        if estimated:
            notes.append(f"region fov: estimated from the image for {_some(estimated, len(self.items))}")
        cut_off = [item.name for item in self.items if item.fov and self.entries[item.name].get("fov") == "estimated"]
        if cut_off:
            notes.append(
                "the maps are 0 outside a field of view that `segkit predict` estimated, not the data set's, for "
                f"{_some(cut_off, len(self.items))}; `segkit predict --data` uses the data set's"
            )
        splits = {name: entry["model_split"] for name, entry in self.entries.items() if "model_split" in entry}
        for split, use in (("train", "trained on"), ("val", "chosen with")):
            used = [name for name, model_split in splits.items() if model_split == split]
            if used:
                notes.append(f"the model was {use} {_some(used, len(self.items))}; its scores there are too high")
        if len(splits) == len(self.items) and not any(splits.values()):
            notes.append(
                "none of these files was used to train or choose the model"
                " (by sha256; a picture saved anew counts as another)"
            )
        elif len(splits) < len(self.items) and self.part == "training":
            notes.append("if the model was trained on some of these images, its scores on them are too high")
        return notes


def _some(names: list[str], of: int) -> str:
    return f"all {counted(of, 'image')}" if len(names) == of else f"{len(names)} of {of} images ({', '.join(names)})"


@dataclass(frozen=True)
class Evaluation:
    """Maps in a folder, scored."""

    data: str
    digest: str
    """Of the data set."""
    maps_dir: Path
    cut: Cut
    record: Record | None
    """`predictions.json`, if there is one."""
    parts: list[PartScores]
    missing: tuple[str, ...]
    """Labelled images without a map."""
    unrecorded: tuple[str, ...]
    """Images of which `predictions.json` has no prediction: their maps come from other files."""

    @property
    def binary(self) -> bool:
        """Whether the maps are binary."""
        return "auroc" not in self.parts[0].metrics

    def lines(self) -> Iterator[str]:
        """The evaluation as text of at most `MAX_WIDTH` columns."""
        if self.record is not None:
            views = f"test-time augmentation {self.record['tta']}, tile {self.record['tile'] or 'none'}"
            yield from _wrapped(f"model {self.record['weights']} ({self.record['weights_sha256'][:12]}), {views}")
        yield from _wrapped(f"threshold {self.cut.threshold:.4f} ({self.cut.source}) from {self.cut.origin}")
        if self.binary:
            left_out = ", ".join(metric for metric in METRICS if metric in THRESHOLD_FREE)
            yield from _wrapped(f"binary maps: {left_out} need probabilities and are left out")
        for part in self.parts:
            yield ""
            yield from _wrapped(f"== {part.part} images {', '.join(item.name for item in part.items)}")
            for note in part.notes():
                yield from _wrapped(f"note: {note}")
            for table in metric_tables(part.measurements):
                yield ""
                yield render(table, MAX_WIDTH).rstrip("\n")

    def image_rows(self) -> list[dict[str, Any]]:
        """As `PartScores.image_rows`, all parts."""
        return [row for part in self.parts for row in part.image_rows()]

    def image_csv(self) -> str:
        """`image_rows` as CSV; a value that has no meaning is an empty cell."""
        rows = [{key: "" if value != value else value for key, value in row.items()} for row in self.image_rows()]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Everything, for other programs."""
        model = None if self.record is None else {k: v for k, v in self.record.items() if k not in {"images", "runs"}}
        return {
            "data": self.data,
            "data_sha256": self.digest,
            "predictions": str(self.maps_dir),
            "model": model,
            "threshold": self.cut.threshold,
            "threshold_source": self.cut.source,
            "binary": self.binary,
            "not_predicted": list(self.missing),
            "notes": {part.part: part.notes() for part in self.parts},
            "measurements": [{"part": part.part, **to_json(m)} for part in self.parts for m in part.measurements],
            "images": [
                {key: None if value != value else value for key, value in row.items()} for row in self.image_rows()
            ],
        }


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, MAX_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def evaluate(
    predictions: Path,
    data: str,
    split: str = "all",
    threshold: float | None = None,
    group_pattern: str | None = None,
) -> Evaluation:
    """Score the maps of a data set's labelled images.

    A map is named like its image in the data set, as 21_training.png, or by the image's number, as 21.png. Where there
    is a `predictions.json`, it may lie in a sub-folder.

    Args:
        predictions: a folder of maps, or one that `segkit predict` wrote, of which `probs/` is scored.
        data: the data set, as in drive:/data/DRIVE.
        split: "training", "test" or "all".
        threshold: on probabilities; by default that of `predictions.json` in or above the folder, else 0.5.
        group_pattern: finds the patient in an image's name, as `data.group_pattern` does.

    Raises:
        RequestError: there is nothing to score.
        DatasetError: the data set cannot be read, two maps have one name, or a map has the wrong size.
        ImageError: a file cannot be read.
    """
    dataset = open_dataset(data, group_pattern)
    if not predictions.is_dir():
        raise RequestError(f"{predictions} is no folder; give the one that holds the maps")
    located = find_record(predictions)
    record = None if located is None else located[0]
    cut = _cut(threshold, located)
    maps_dir = predictions / KINDS[0] if located and (predictions / KINDS[0]).is_dir() else predictions
    labelled = [item for item in dataset.items if split in {"all", item.part} and item.vessels is not None]
    if not labelled:
        raise RequestError(f"{data} has no labels in its {split} part; nothing can be scored")
    maps = _maps(maps_dir, labelled, recursive=record is not None)
    if not maps:
        expected = f"{labelled[0].name}.png"
        raise RequestError(f"{predictions} holds no map of a labelled image; expected names such as {expected}")
    predicted = [item for item in labelled if item.name in maps]
    scores = score_images((scored_row(_row(item), maps[item.name]) for item in predicted), [cut.threshold])
    metrics = tuple(metric for metric in METRICS if not (metric in THRESHOLD_FREE and is_binary(scores)))
    entries = _entries(record, predicted)
    parts = []
    for part in PARTS:
        chosen = [(item, score) for item, score in zip(predicted, scores, strict=True) if item.part == part]
        if chosen:
            items, part_scores = zip(*chosen, strict=True)
            part_entries = {item.name: entries[item.name] for item in items}
            parts.append(PartScores(part, items, part_scores, cut, metrics, part_entries))
    missing = tuple(item.name for item in labelled if item.name not in maps)
    unrecorded = tuple(name for name, entry in entries.items() if record is not None and not entry)
    return Evaluation(data, dataset.digest, maps_dir, cut, record, parts, missing, unrecorded)


def _cut(threshold: float | None, located: tuple[Record, Path] | None) -> Cut:
    if threshold is not None:
        return Cut(threshold, "fixed-0.5" if threshold == 0.5 else "given", "--threshold")
    if located is not None:
        record, path = located
        return Cut(float(record["threshold"]), str(record["threshold_source"]), str(path))
    return Cut(0.5, "fixed-0.5", "the default, as there is no predictions.json")


def _row(item: Item) -> Row:
    return Row(item.name, "test", item.image, vessels=item.vessels, fov=item.fov, group=item.group)


def _maps(folder: Path, items: list[Item], recursive: bool) -> dict[str, Path]:
    """The map of each item that has one."""
    by_stem: dict[str, list[Path]] = {}
    for path in image_files(folder, recursive):
        by_stem.setdefault(path.stem, []).append(path)
    maps: dict[str, Path] = {}
    for item in items:
        paths = by_stem.get(item.name) or by_stem.get(_number(item.name), [])
        if len(paths) > 1:
            raise DatasetError(f"{paths[0]} and {paths[1]} are both named like {item.name}; give the folder of one")
        if paths:
            maps[item.name] = paths[0]
    return maps


def _number(name: str) -> str:
    """The number an image's name begins with, as 21 of 21_training; the whole name where there is none."""
    digits = name.split("_")[0]
    return digits if digits.isdigit() else name


def _entries(record: Record | None, items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """The record's entry for each item's image file, by the item's name; empty where it has none."""
    if record is None:
        return {item.name: {} for item in items}
    by_digest = {entry.get("sha256"): entry for entry in record["images"].values()}
    return {item.name: by_digest.get(sha256_file(item.image), {}) for item in items}
