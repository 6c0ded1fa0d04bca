"""Predictions on images: overlays of scored ones, probabilities of those without labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.report import album as colours
from pipelines.report.album import Album, Picture, evenly_spaced, grey, overlay
from pipelines.report.evidence import Evidence
from segkit.core import images
from segkit.core.manifest import Row
from segkit.data.fov import read_fov
from segkit.metrics.score import image_values


@dataclass(frozen=True)
class Overlays:
    """Scored images with the overlay of each model, from the worst to the best by one model's Dice."""

    ranked_by: str
    noun: str
    dice: dict[str, float]
    """That model's, by image, in ascending order."""
    images: dict[str, list[Picture]]
    """By image."""

    @property
    def worst(self) -> str:
        return next(iter(self.dice))

    @property
    def best(self) -> str:
        return next(reversed(self.dice))


@dataclass(frozen=True)
class Unlabelled:
    """Test images without labels beside a model's probabilities."""

    model: str
    pairs: list[tuple[Picture, Picture]]
    total: int
    folder: str
    """Of all predictions, relative to the runs folder."""


@dataclass(frozen=True)
class View:
    """Values of the template."""

    overlays: Overlays | None
    unlabelled: Unlabelled | None
    patches: dict[str, str]
    """CSS colour by meaning."""


PATCHES = {
    "vessel, found (true positive)": colours.TRUE_POSITIVE,
    "no vessel, but marked (false positive)": colours.FALSE_POSITIVE,
    "vessel, missed (false negative)": colours.FALSE_NEGATIVE,
}


def view(evidence: Evidence, album: Album) -> View | None:
    """Overlays and probabilities; None if there are none or `report.num_overlays` is 0."""
    if evidence.request.report.num_overlays == 0 or not evidence.models:
        return None
    overlays, unlabelled = _overlays(evidence, album), _unlabelled(evidence, album)
    patches = {meaning: f"rgb{colour}" for meaning, colour in PATCHES.items()}
    return View(overlays, unlabelled, patches) if overlays or unlabelled else None


def _overlays(evidence: Evidence, album: Album) -> Overlays | None:
    basis = evidence.verdict.basis
    if basis is None:
        return None
    dice = {name: _dice_by_image(evidence, name) for name in evidence.models if name in evidence.runs}
    ranking = dice[evidence.best_guess]
    ranked = sorted(ranking, key=lambda image: (ranking[image], image))
    rows = {row.name: row for row in evidence.manifest.split(basis.split).labelled().rows}  # type: ignore[arg-type]
    shown = evenly_spaced(ranked, evidence.request.report.num_overlays)
    return Overlays(
        evidence.best_guess,
        basis.noun,
        {image: ranking[image] for image in ranked},
        {image: _overlay_row(evidence, rows[image], dice, album) for image in shown},
    )


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


def _unlabelled(evidence: Evidence, album: Album) -> Unlabelled | None:
    rows = [row for row in evidence.manifest.split("test").rows if row.vessels is None]
    if not rows:
        return None
    model, pairs = evidence.best_guess, []
    for row in rows[: evidence.request.report.num_overlays]:
        probs = grey(images.read_probs(_probs_path(evidence, model, row)) * read_fov(row))
        image = album.add(images.read_image(row.image), f"Test image {row.name}", row.name)
        pairs.append((image, album.add(probs, f"Vessel probability of test image {row.name} by the {model}")))
    return Unlabelled(model, pairs, len(rows), f"{evidence.inputs['evaluate'].name}/predictions")


def _probs_path(evidence: Evidence, model: str, row: Row) -> Path:
    return evidence.inputs["evaluate"] / "predictions" / model / "probs" / f"{row.name}.png"
