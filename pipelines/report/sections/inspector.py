"""Inspector: predictions of a chosen image at any threshold, two models side by side on one canvas."""

import numpy as np

from pipelines.report.album import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE, Album, data_uri
from pipelines.report.evidence import Evidence
from pipelines.report.shown_images import ShownImage, shown_images
from segkit.core.arrays import Pixels
from segkit.core.images import encode_image, from_unit

BUDGET_BYTES = 2_000_000
"""Of all maps as PNG files; together with the pictures of the album the page stays below 10 MB."""

SIDES = (600, 450, 340, 250, 180)
"""Longer side of the maps in pixels; the first one that fits the budget is used."""

OUTSIDE = 128
"""Level of pixels outside the region in a map of labels; inside it is 0 or 255."""


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Maps for the page's script; None if no image is shown. Several classes have no threshold, and no maps."""
    shown = shown_images(evidence)
    if not shown:
        return None
    models = list(shown[0].predictions)
    cuts = [evidence.runs[name].cut for name in models]
    others = [name for name in (evidence.roles.baseline, *models) if name in models and name != evidence.shown_model]
    data: dict[str, object] = {
        "models": {name: cut if isinstance(cut, float) else 0.5 for name, cut in zip(models, cuts, strict=True)},
        "images": {image.name: {} for image in shown},
        "colours": {"tp": TRUE_POSITIVE, "fp": FALSE_POSITIVE, "fn": FALSE_NEGATIVE},
    }
    binary, side = shown[0].classes.kind == "binary", SIDES[0]
    if binary:
        data["images"], side = _encoded(shown)
    return {
        "data": data,
        "images": [image.name for image in shown],
        "models": models,
        "left": next(iter(others), "the image"),
        "right": evidence.shown_model,
        "binary": binary,
        "per_image": "own" in cuts,
        "reduced": binary and side < max(shown[0].region.shape),
        "class_name": shown[0].classes.names[0],
    }


def _encoded(shown: list[ShownImage]) -> tuple[dict[str, dict[str, object]], int]:
    """Labels and probabilities of each image as data URIs, and the longer side of the maps."""
    for side in SIDES:
        files = {
            image.name: {"labels": _png(_labels(image), side)}
            | {name: _png(from_unit(probs[0]), side) for name, probs in image.probs.items()}
            for image in shown
        }
        if sum(len(file) for maps in files.values() for file in maps.values()) <= BUDGET_BYTES:
            break
    uris = {name: {key: data_uri(file, "png") for key, file in maps.items()} for name, maps in files.items()}
    return {name: {"labels": maps.pop("labels"), "probs": maps} for name, maps in uris.items()}, side


def _labels(image: ShownImage) -> Pixels:
    return np.where(image.region, np.where(image.labels, 255, 0), OUTSIDE).astype(np.uint8)


def _png(levels: Pixels, side: int) -> bytes:
    """The nearest pixels, so that a pixel's label and probability stay together."""
    step = max(1.0, max(levels.shape) / side)
    rows, columns = (((np.arange(int(size / step)) + 0.5) * step).astype(int) for size in levels.shape)
    return encode_image(levels[np.ix_(rows, columns)])
