"""Predictions on images: overlays of scored ones, probabilities of those without labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.report.album import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    Album,
    Picture,
    Pixels,
    evenly_spaced,
    grey,
    overlay,
)
from pipelines.report.comparisons import values_by_image
from pipelines.report.evidence import Evidence
from segkit.core import images
from segkit.core.classes import Classes
from segkit.core.manifest import Row, Source
from segkit.data.fov import read_region
from segkit.data.labels import labels_from_probs, probs_path, read_labels, read_probs
from segkit.metrics.score import OWN, threshold_of
from segkit.tasks.overlay import draw_classes


def _colours(classes: Classes) -> dict[str, tuple[int, int, int]]:
    """Colours by meaning."""
    if classes.kind == "multiclass":
        return dict(list(zip(classes.names, classes.palette, strict=True))[1:])
    name = classes.names[0]
    return {
        f"{name}, detected (true positive)": TRUE_POSITIVE,
        f"no {name}, but predicted (false positive)": FALSE_POSITIVE,
        f"{name}, missed (false negative)": FALSE_NEGATIVE,
    }


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Overlays and probabilities; None if there are none or `report.num_overlays` is 0."""
    if evidence.request.report.num_overlays == 0 or not evidence.models:
        return None
    overlays, unlabelled = _overlays(evidence, album), _unlabelled(evidence, album)
    if not overlays and not unlabelled:
        return None
    return {
        "overlays": overlays,
        "unlabelled": unlabelled,
        "colours": _colours(evidence.manifest.classes),
        "model": evidence.shown_model,
    }


def _overlays(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Some scored images with the overlay of each model, from the worst to the best by one model's Dice."""
    basis = evidence.verdict.basis
    if basis is None:
        return None
    dice = {name: values_by_image(evidence.runs[name], "dice") for name in evidence.models if name in evidence.runs}
    ranking = dict(sorted(dice[evidence.shown_model].items(), key=lambda item: (item[1], item[0])))
    rows = {row.name: row for row in evidence.manifest.split(basis.split).labelled().rows}
    shown = evenly_spaced(list(ranking), evidence.request.report.num_overlays)
    return {
        "noun": basis.noun,
        "ranking": list(ranking.items()),
        "images": {image: _overlay_row(evidence, rows[image], dice, album) for image in shown},
    }


def _overlay_row(evidence: Evidence, row: Row, dice: Mapping[str, Mapping[str, float]], album: Album) -> list[Picture]:
    """The image, of several classes also the labels, and each model's prediction."""
    assert row.reference is not None
    classes = evidence.manifest.classes
    image, labels = images.read_image(*row.image), read_labels(row.reference, classes)
    region = read_region(row, classes, image)
    shown = [album.add(image, f"Image {row.name}", "the image")]
    if classes.kind == "multiclass":
        shown.append(album.add(draw_classes(image, labels, classes), f"Labels of image {row.name}", "the labels"))
    for name, values in dice.items():
        cut = evidence.runs[name].cut
        prediction = (
            read_labels(Source(_folder(evidence, name) / "binary" / f"{row.name}.png"), classes)
            if cut == OWN
            else labels_from_probs(_probs(evidence, name, row), classes, threshold_of(cut))
        )
        score = f"Dice {values[row.name]:.4f}"
        alt = f"Image {row.name}, overlay of {name}, {score}"
        binary = classes.kind == "binary"
        drawn = overlay(image, prediction, labels, region) if binary else draw_classes(image, prediction, classes)
        shown.append(album.add(drawn, alt, name, score))
    return shown


def _unlabelled(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Some test images without labels beside a model's probabilities, or its prediction of several classes."""
    rows = [row for row in evidence.manifest.split("test").rows if row.reference is None]
    model, pairs = evidence.shown_model, []
    for row in rows[: evidence.request.report.num_overlays]:
        shown = album.add(_predicted(evidence, model, row), f"Prediction of test image {row.name} by the {model}")
        pairs.append((album.add(images.read_image(*row.image), f"Test image {row.name}", row.name), shown))
    folder = f"{evidence.inputs['evaluate'].name}/predictions"
    return {"pairs": pairs, "total": len(rows), "folder": folder} if rows else None


def _predicted(evidence: Evidence, model: str, row: Row) -> Pixels:
    classes = evidence.manifest.classes
    if classes.kind == "binary":
        return grey(_probs(evidence, model, row)[0] * read_region(row, classes))
    labels = labels_from_probs(_probs(evidence, model, row), classes, threshold=0.5)
    return draw_classes(images.read_image(*row.image), labels, classes)


def _probs(evidence: Evidence, model: str, row: Row) -> npt.NDArray[np.float32]:
    """The model's probabilities (k, h, w) of an image."""
    classes = evidence.manifest.classes
    return read_probs(probs_path(_folder(evidence, model) / "probs", row.name, classes), classes)


def _folder(evidence: Evidence, model: str) -> Path:
    return evidence.inputs["evaluate"] / "predictions" / model
