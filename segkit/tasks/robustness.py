"""How much a model loses on degraded images: scale, blur, noise, uneven light, compression, a colour cast."""

import os
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.core import images
from segkit.core.arrays import Pixels
from segkit.core.classes import Classes
from segkit.core.determinism import deterministic
from segkit.core.errors import RequestError
from segkit.core.files import sha256_file, without_nan
from segkit.core.manifest import Row
from segkit.core.progress import tracked
from segkit.core.seeding import derive_seed
from segkit.core.wording import counted, counted_images, is_nan
from segkit.data.fov import read_region
from segkit.data.geometry import Geometry
from segkit.data.labels import read_labels
from segkit.data.readers import open_dataset, part_of
from segkit.metrics.curves import quantise
from segkit.metrics.measure import compare, pooled_value
from segkit.metrics.metrics import reductions_for
from segkit.metrics.score import ImageScore, ScoredImage, regions_of, score_image
from segkit.metrics.tables import MAX_WIDTH, of_cells, render
from segkit.tasks.prediction import PREDICTION_THREADS, Predictor
from segkit.tasks.scaling import predict_image
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.weights import describe_model, load_predictor, read_card

CLEAN = "clean"
METRICS = ("dice", "auroc")
SCALES = (0.5, 0.7, 1.5)

Change = Callable[[Pixels, int], Pixels]
"""Degrades an image (h, w, 3); what is random in it comes from the seed."""


def _albumentation(kind: str, **limits: object) -> Change:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it looks up its newest version online

    def change(image: Pixels, seed: int) -> Pixels:
        import albumentations as A

        return np.asarray(A.Compose([getattr(A, kind)(**limits, p=1)], seed=seed % 2**32)(image=image)["image"])

    return change


def _times(factors: Callable[[Pixels], NDArray[np.float64]]) -> Change:
    return lambda image, seed: np.clip(np.rint(image * factors(image)), 0, 255).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "blur, sigma 1": _albumentation("GaussianBlur", sigma_limit=(1, 1), blur_limit=0),
    "blur, sigma 2": _albumentation("GaussianBlur", sigma_limit=(2, 2), blur_limit=0),
    "noise, 0.03": _albumentation("GaussNoise", std_range=(0.03, 0.03)),
    "noise, 0.06": _albumentation("GaussNoise", std_range=(0.06, 0.06)),
    "light, 0.5 to 1.5": _times(lambda image: np.linspace(0.5, 1.5, image.shape[1])[:, None]),
    "JPEG, quality 50": _albumentation("ImageCompression", quality_range=(50, 50)),
    "JPEG, quality 20": _albumentation("ImageCompression", quality_range=(20, 20)),
    "red 1.2, blue 0.6": _times(lambda image: np.array([1.2, 1.0, 0.6])),
}
"""Those that keep the image's size: sigma in pixels, deviation as a share of 255, factors from left to right."""


PARTS = {"training": "training images", "test": "test images", "all": "all images"}


@dataclass(frozen=True)
class Robustness:
    """Scores of a model on the images of a data set and on their degraded versions."""

    weights: str
    data: str
    split: str
    notes: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    """For each degradation and metric: value, difference from the clean images with its paired 95 % interval."""

    def lines(self) -> Iterator[str]:
        """The table as text."""
        for note in self.notes:
            yield from textwrap.wrap(f"note: {note}", MAX_WIDTH, subsequent_indent="  ")
        images_of = counted_images(self.rows[0]["n"], self.rows[0]["num_groups"])
        one_patient = self.rows[0]["num_groups"] == 1
        interval = "without an interval, as all show one patient" if one_patient else "with its 95 % interval"
        heading = (
            f"{Path(self.weights).name} on {self.data}, {PARTS[self.split]}, n = {images_of}; "
            f"in brackets the difference from the clean images {interval}"
        )
        names = dict.fromkeys(row["degradation"] for row in self.rows)
        cells = [[name, *(_cell(row) for row in self.rows if row["degradation"] == name)] for name in names]
        yield render(of_cells(heading, ("degradation", "Dice (F1)", "AUROC"), cells), MAX_WIDTH).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Everything, for other programs; nan is None."""
        return {
            "weights": self.weights,
            "data": self.data,
            "split": self.split,
            "notes": list(self.notes),
            "rows": [without_nan(row) for row in self.rows],
        }


def _cell(row: dict[str, Any]) -> str:
    if row["degradation"] == CLEAN:
        return f"{row['value']:.4f}"
    interval = "" if is_nan(row["low"]) else f" [{row['low']:+.4f}, {row['high']:+.4f}]"
    return f"{row['value']:.4f} ({row['difference']:+.4f}{interval})"


def robustness(
    weights: Path, data: str, split: str, tta: str | None = None, group_pattern: str | None = None
) -> Robustness:
    """Score a model on the labelled images of a data set and on degraded versions of each.

    Predictions are scored at the clean image's size, inside its field of view, at the model's threshold, all pixels
    pooled. A resized image is predicted as one of another camera, scaled by its field of view.

    Args:
        split: "training", "test" or "all".
        tta: test-time augmentation; the model's own if None.
        group_pattern: finds the patient in an image's name.

    Raises:
        RequestError: the part has no labels, or other classes than the model.
    """
    card, dataset = read_card(weights), open_dataset(data, group_pattern)
    if card.classes.names != dataset.classes.names:
        names = [", ".join(classes.names) for classes in (card.classes, dataset.classes)]
        raise RequestError(f"the model predicts {names[0]}, and {data} has labels of {names[1]}")
    rows = [row for row in dataset.rows if split in {"all", part_of(row)} and row.reference is not None]
    if not rows:
        raise RequestError(f"{data} has no labels in its {split} part; nothing can be scored")
    predictor = load_predictor(weights).eval().requires_grad_(False)
    inference = InferenceSettings.model_validate({"tta": tta or card.tta})
    scores: dict[str, list[ImageScore]] = {}
    for row in tracked(rows, len(rows), "robustness", "image"):
        for name, score in _scores(row, card.classes, predictor, inference):
            scores.setdefault(name, []).append(score)
    clean, results = scores[CLEAN], []
    for name, degraded in scores.items():
        for metric in METRICS:
            value = pooled_value(degraded, metric, card.cut, regions_of(clean)[0])
            paired = compare(degraded, clean, card.cut, card.cut, metric)
            results.append(
                {"degradation": name, "metric": metric, "value": value, "difference": paired.difference}
                | {"low": paired.low, "high": paired.high, "n": paired.n, "num_groups": paired.num_groups}
            )
    return Robustness(str(weights), data, split, tuple(_notes(describe_model(weights)["images"], rows)), tuple(results))


def _notes(splits: dict[str, str] | None, rows: Sequence[Row]) -> Iterator[str]:
    """Whether the model has been trained on these images, by the sha256 in its card."""
    if splits is None:
        yield "the model does not record its training images; if these are among them, only the differences count"
        return
    used = Counter(splits.get(sha256_file(row.image.path)) for row in rows)
    for split, use in (("train", "trained on"), ("val", "chosen with")):
        if used[split]:
            yield (
                f"the model was {use} {used[split]} of these {counted(len(rows), 'image')}: "
                "its scores are too high, and only the differences from the clean images count"
            )


def _scores(
    row: Row, classes: Classes, predictor: Predictor, inference: InferenceSettings
) -> Iterator[tuple[str, ImageScore]]:
    """The score of an image and of each degraded version."""
    assert row.reference is not None
    image, labels = images.read_image(*row.image), read_labels(row.reference, classes)
    region = read_region(row, classes, image)
    for name, degraded in versions(image, row.name):
        plan = Geometry.resize(*image.shape[:2], *degraded.shape[:2])
        with torch.inference_mode(), deterministic(torch.device("cpu"), PREDICTION_THREADS):
            probs = predict_image(predictor, degraded, plan.region(region), inference)
        levels = quantise(plan.restore_probs(probs))
        maps = levels[0] if classes.kind == "binary" else levels
        scored = ScoredImage(row.name, maps, labels, region, row.group, classes)
        yield name, score_image(scored, reductions=reductions_for(METRICS))


def versions(image: Pixels, name: str) -> Iterator[tuple[str, Pixels]]:
    """The image (h, w, 3) itself and each degraded version; what is random depends on the image's name."""
    height, width = image.shape[:2]
    yield CLEAN, image
    for factor in SCALES:
        plan = Geometry.resize(height, width, max(1, round(height * factor)), max(1, round(width * factor)))
        yield f"scale {factor}", plan.image(image)
    for kind, change in CHANGES.items():
        yield kind, change(image, derive_seed(name, kind))
