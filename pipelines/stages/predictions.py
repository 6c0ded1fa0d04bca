"""What several stages share: predict the rows of a manifest with a model's folder, and score what was predicted."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.context import Context
from segkit.core import images
from segkit.core.manifest import Manifest
from segkit.data.fov import read_fov
from segkit.metrics.score import ImageScore, ScoredImage, score_images
from segkit.tasks.ensemble import EnsembleTask
from segkit.tasks.prediction import ProbsWriter, image_loader
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.trainer import build_trainer
from segkit.tasks.weights import load_predictor


def predict(
    context: Context,
    model: Path,
    rows: Manifest,
    folder: Path,
    inference: InferenceSettings,
    label: str = "predictions",
) -> None:
    """Write a 16-bit probability PNG into `folder` for each row that has none yet; ranks share the rows."""
    missing = [row for row in rows.rows if not (folder / f"{row.name}.png").exists()]
    # fp32: the scores are to show the network, not the rounding of its arithmetic.
    trainer = build_trainer(
        context.runtime,
        context.work,
        f"{context.request.name} {label}",
        precision="32-true",
        callbacks=[ProbsWriter(folder)],
    )
    # All ranks have listed what is missing before one of them begins to write, and the model is there.
    trainer.strategy.barrier()
    if missing:
        loader = image_loader(missing, trainer.global_rank, trainer.world_size)
        trainer.predict(EnsembleTask(load_predictor(model), inference), loader, return_predictions=False)
    trainer.strategy.barrier()


def scored(rows: Manifest, folder: Path, thresholds: Sequence[float] = ()) -> list[ImageScore]:
    """Scores of the labelled rows' predictions in `folder`."""
    each = (
        ScoredImage(
            row.name,
            images.read_levels(folder / f"{row.name}.png"),
            images.read_mask(row.vessels),
            read_fov(row),
            row.group,
        )
        for row in rows.rows
        if row.vessels is not None
    )
    return score_images(each, thresholds)
