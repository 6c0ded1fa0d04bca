"""What several stages share: predict the rows of a manifest with a model's folder, and score what was predicted."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipelines.context import Context
from segkit.core.manifest import Manifest
from segkit.metrics.score import ImageScore, score_images
from segkit.tasks.ensemble import predict as predict_missing
from segkit.tasks.evaluation import scored_row
from segkit.tasks.prediction import MapWriter
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.weights import load_predictor, read_card


def predict(
    context: Context,
    model: Path,
    rows: Manifest,
    folder: Path,
    inference: InferenceSettings,
    label: str = "predictions",
    binary_dir: Path | None = None,
) -> None:
    """Write a 16-bit probability PNG into `folder` for each row that has none yet; ranks share the rows.

    With `binary_dir` also the binary maps at the model's own threshold.
    """
    writer = MapWriter(folder, binary_dir, read_card(model).threshold) if binary_dir else MapWriter(folder)
    predict_missing(
        partial(load_predictor, model),
        rows.rows,
        writer,
        inference,
        context.runtime,
        context.work,
        f"{context.request.name} {label}",
    )


def scored(rows: Manifest, folder: Path, thresholds: Sequence[float] = ()) -> list[ImageScore]:
    """Scores of the labelled rows' predictions in `folder`."""
    labelled = (scored_row(row, folder / f"{row.name}.png") for row in rows.labelled().rows)
    return score_images(labelled, thresholds)
