"""The scored images that the report shows, each with its labels and the maps of every model."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.report.album import evenly_spaced, overlay
from pipelines.report.evidence import Evidence
from segkit.core import images
from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.classes import Classes
from segkit.core.manifest import Row, Source
from segkit.data.fov import read_region
from segkit.data.labels import labels_from_probs, probs_path, read_labels, read_probs
from segkit.metrics.score import OWN, threshold_of
from segkit.tasks.overlay import draw_classes

Labels = Bools | npt.NDArray[np.integer]


@dataclass(frozen=True)
class ShownImage:
    """An image of the verdict's split."""

    name: str
    classes: Classes
    image: Pixels
    labels: Labels
    """(h, w)."""
    region: Bools
    """(h, w)."""
    predictions: Mapping[str, Labels]
    """(h, w), by model."""
    probs: Mapping[str, Floats]
    """(k, h, w), by model."""

    def errors(self, model: str) -> Pixels:
        """The photograph with a model's errors coloured; of several classes, with the predicted classes."""
        if self.classes.kind == "multiclass":
            return draw_classes(self.image, self.predictions[model], self.classes)
        return overlay(self.image, self.predictions[model].astype(bool), self.labels.astype(bool), self.region)


def ranking(evidence: Evidence) -> dict[str, float]:
    """Every scored image with the shown model's Dice, the worst first."""
    return dict(sorted(evidence.dice[evidence.shown_model].items(), key=lambda item: (item[1], item[0])))


@lru_cache(maxsize=1)  # three sections show them
def shown_images(evidence: Evidence) -> list[ShownImage]:
    """`report.num_overlays` images, evenly spaced from the worst to the best; none if nothing was scored."""
    basis, count = evidence.verdict.basis, evidence.request.report.num_overlays
    if basis is None or not evidence.models or count == 0:
        return []
    rows = {row.name: row for row in evidence.manifest.split(basis.split).labelled().rows}
    return [_read(evidence, rows[name]) for name in evenly_spaced(list(ranking(evidence)), count)]


def _read(evidence: Evidence, row: Row) -> ShownImage:
    assert row.reference is not None
    classes = evidence.manifest.classes
    image = images.read_image(*row.image)
    probs, predictions = {}, {}
    for name in evidence.dice:
        cut = evidence.runs[name].cut
        probs[name] = model_probs(evidence, name, row)
        predictions[name] = (
            read_labels(Source(predictions_folder(evidence, name) / "binary" / f"{row.name}.png"), classes)
            if cut == OWN
            else labels_from_probs(probs[name], classes, threshold_of(cut))
        )
    region = read_region(row, classes, image)
    return ShownImage(row.name, classes, image, read_labels(row.reference, classes), region, predictions, probs)


def model_probs(evidence: Evidence, model: str, row: Row) -> Floats:
    """The model's probabilities (k, h, w) of an image."""
    classes = evidence.manifest.classes
    return read_probs(probs_path(predictions_folder(evidence, model) / "probs", row.name, classes), classes)


def predictions_folder(evidence: Evidence, model: str) -> Path:
    """Where `evaluate` wrote the maps of a model."""
    return evidence.inputs["evaluate"] / "predictions" / model
