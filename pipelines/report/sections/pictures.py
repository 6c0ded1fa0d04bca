"""Predictions on images: overlays of scored ones, probabilities of those without labels."""

from collections.abc import Mapping
from pathlib import Path

from pipelines.report.album import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    Album,
    Picture,
    evenly_spaced,
    grey,
    overlay,
)
from pipelines.report.evidence import Evidence
from segkit.core import images
from segkit.core.manifest import Row
from segkit.data.fov import read_fov
from segkit.metrics.score import image_values

COLOURS = {
    "vessel, found (true positive)": TRUE_POSITIVE,
    "no vessel, but marked (false positive)": FALSE_POSITIVE,
    "vessel, missed (false negative)": FALSE_NEGATIVE,
}


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Overlays and probabilities; None if there are none or `report.num_overlays` is 0."""
    if evidence.request.report.num_overlays == 0 or not evidence.models:
        return None
    overlays, unlabelled = _overlays(evidence, album), _unlabelled(evidence, album)
    if not overlays and not unlabelled:
        return None
    return {"overlays": overlays, "unlabelled": unlabelled, "colours": COLOURS, "model": evidence.shown_model}


def _overlays(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Some scored images with the overlay of each model, from the worst to the best by one model's Dice."""
    basis = evidence.verdict.basis
    if basis is None:
        return None
    dice = {name: _dice_by_image(evidence, name) for name in evidence.models if name in evidence.runs}
    ranking = dict(sorted(dice[evidence.shown_model].items(), key=lambda item: (item[1], item[0])))
    rows = {row.name: row for row in evidence.manifest.split(basis.split).labelled().rows}  # type: ignore[arg-type]
    shown = evenly_spaced(list(ranking), evidence.request.report.num_overlays)
    return {
        "noun": basis.noun,
        "ranking": list(ranking.items()),
        "images": {image: _overlay_row(evidence, rows[image], dice, album) for image in shown},
    }


def _dice_by_image(evidence: Evidence, name: str) -> dict[str, float]:
    run = evidence.runs[name]
    values = image_values(run.scores, "dice", "fov", run.threshold)
    return {score.name: float(value) for score, value in zip(run.scores, values, strict=True)}


def _overlay_row(evidence: Evidence, row: Row, dice: Mapping[str, Mapping[str, float]], album: Album) -> list[Picture]:
    assert row.vessels is not None
    image, vessels = images.read_image(row.image), images.read_mask(row.vessels)
    fov = read_fov(row, image)
    shown = [album.add(image, f"Image {row.name}", "the image")]
    for name, values in dice.items():
        prediction = images.read_probs(_probs_path(evidence, name, row)) >= evidence.runs[name].threshold
        score = f"Dice {values[row.name]:.4f}"
        alt = f"Image {row.name}, overlay of {name}, {score}"
        shown.append(album.add(overlay(image, prediction, vessels, fov), alt, name, score))
    return shown


def _unlabelled(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Some test images without labels beside a model's probabilities."""
    rows = [row for row in evidence.manifest.split("test").rows if row.vessels is None]
    model, pairs = evidence.shown_model, []
    for row in rows[: evidence.request.report.num_overlays]:
        probs = grey(images.read_probs(_probs_path(evidence, model, row)) * read_fov(row))
        image = album.add(images.read_image(row.image), f"Test image {row.name}", row.name)
        pairs.append((image, album.add(probs, f"Vessel probability of test image {row.name} by the {model}")))
    folder = f"{evidence.inputs['evaluate'].name}/predictions"
    return {"pairs": pairs, "total": len(rows), "folder": folder} if rows else None


def _probs_path(evidence: Evidence, model: str, row: Row) -> Path:
    return evidence.inputs["evaluate"] / "predictions" / model / "probs" / f"{row.name}.png"
