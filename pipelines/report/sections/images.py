"""Every scored image with its metrics for each model, as a table that can be sorted and saved as CSV."""

from pipelines.report.album import Album, Picture
from pipelines.report.evidence import Evidence
from pipelines.report.shown_images import ShownImage, shown_images
from pipelines.results.scored_runs import image_metrics, image_rows
from segkit.metrics.tables import HEADINGS
from segkit.tasks.overlay import draw_classes

THUMBNAIL_SIDE = 96
"""Pixels of the longer side."""


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """One row for each image and model; None if nothing was scored."""
    basis = evidence.verdict.basis
    if basis is None or not evidence.runs:
        return None
    thumbnails = {shown.name: _thumbnails(shown, album) for shown in shown_images(evidence)}
    return {
        "rows": image_rows(evidence.runs),
        "models": list(evidence.runs),
        "chosen": evidence.shown_model,
        "headings": [HEADINGS[metric] for metric in image_metrics(evidence.runs)],
        "thumbnails": thumbnails,
        "basis": basis,
    }


def _thumbnails(shown: ShownImage, album: Album) -> dict[str, list[Picture]]:
    """The image, its labels, the prediction and its errors, by model."""
    ground = shown.image // 255  # black
    drawn = {"image": shown.image, "labels": draw_classes(ground, shown.labels, shown.classes)}
    common = [album.add(picture, f"{what}", max_side=THUMBNAIL_SIDE) for what, picture in drawn.items()]
    thumbnails = {}
    for model, prediction in shown.predictions.items():
        pictures = [draw_classes(ground, prediction, shown.classes)]
        if shown.classes.kind == "binary":
            pictures.append(shown.errors(model))
        texts = ("prediction", "errors")
        own = [album.add(drawn, text, max_side=THUMBNAIL_SIDE) for drawn, text in zip(pictures, texts, strict=False)]
        thumbnails[model] = [*common, *own]
    return thumbnails
