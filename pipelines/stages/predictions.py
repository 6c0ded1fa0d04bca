"""What several stages share: predict the rows of a manifest with a model's folder, and score what was predicted."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipelines.execution.worker import Context
from pipelines.stage import S
from segkit.core.classes import Classes
from segkit.core.manifest import Manifest
from segkit.data.labels import probs_path
from segkit.metrics.reductions import FAST_REDUCTIONS
from segkit.metrics.score import Cut, ImageScore, score_images
from segkit.tasks.ensemble import predict as predict_missing
from segkit.tasks.evaluation import scored_row
from segkit.tasks.prediction_files import MapWriter
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.weights import load_predictor, read_card


def predict(
    context: Context[S],
    model: Path,
    rows: Manifest,
    folder: Path,
    inference: InferenceSettings,
    label: str = "predictions",
    labels_dir: Path | None = None,
    classes: Classes | None = None,
) -> None:
    """Write 16-bit probabilities into `folder` for each row that has none yet; ranks share the rows.

    With `labels_dir` also the predicted label maps, at the model's own threshold. A stage that has just written the
    model on its first rank gives `classes`, because the other ranks cannot read the model's folder yet.
    """
    if classes is None or labels_dir is not None:
        card = read_card(model)
        writer = MapWriter(folder, card.classes, labels_dir, card.threshold)
    else:
        writer = MapWriter(folder, classes)
    predict_missing(
        partial(load_predictor, model),
        rows.rows,
        writer,
        inference,
        context.runtime,
        context.work,
        f"{context.name} {label}",
    )


def cut_text(cut: Cut) -> str:
    """Where probabilities are cut, for a line of progress."""
    return f"threshold {cut:.3f}" if isinstance(cut, float) else "most probable class"


def scored(
    rows: Manifest, folder: Path, thresholds: Sequence[float] = (), reductions: Sequence[str] = FAST_REDUCTIONS
) -> list[ImageScore]:
    """Scores of the labelled rows' predictions in `folder`."""
    classes = rows.classes
    images = (scored_row(row, probs_path(folder, row.name, classes), classes) for row in rows.rows if row.reference)
    return score_images(images, thresholds, reductions)
