"""Predictions on images: overlays of scored ones, probabilities of those without labels."""

from collections.abc import Mapping

from pipelines.report.album import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    Album,
    Picture,
    grey,
)
from pipelines.report.evidence import Evidence
from pipelines.report.shown_images import ShownImage, model_probs, ranking, shown_images
from segkit.core import images
from segkit.core.arrays import Pixels
from segkit.core.classes import Classes
from segkit.core.manifest import Row
from segkit.data.fov import read_region
from segkit.data.labels import labels_from_probs
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
    if evidence.request.report.num_overlays == 0:
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
    shown = shown_images(evidence)
    if not shown or evidence.verdict.basis is None:
        return None
    return {
        "noun": evidence.verdict.basis.noun,
        "ranking": list(ranking(evidence).items()),
        "images": {image.name: _overlay_row(image, evidence.dice, album) for image in shown},
    }


def _overlay_row(shown: ShownImage, dice: Mapping[str, Mapping[str, float]], album: Album) -> list[Picture]:
    """The image, of several classes also the labels, and each model's prediction."""
    pictures = [album.add(shown.image, f"Image {shown.name}", "the image")]
    if shown.classes.kind == "multiclass":
        labels = draw_classes(shown.image, shown.labels, shown.classes)
        pictures.append(album.add(labels, f"Labels of image {shown.name}", "the labels"))
    for name in shown.predictions:
        score = f"Dice {dice[name][shown.name]:.4f}"
        alt = f"Image {shown.name}, overlay of {name}, {score}"
        pictures.append(album.add(shown.errors(name), alt, name, score))
    return pictures


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
        return grey(model_probs(evidence, model, row)[0] * read_region(row, classes))
    labels = labels_from_probs(model_probs(evidence, model, row), classes, threshold=0.5)
    return draw_classes(images.read_image(*row.image), labels, classes)
