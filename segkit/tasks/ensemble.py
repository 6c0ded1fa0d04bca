"""Predict with a trained model: one network or an ensemble."""

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning as L

from segkit.core.arrays import Floats
from segkit.core.determinism import deterministic
from segkit.core.manifest import Row
from segkit.core.missing import predict_missing
from segkit.tasks.prediction import PREDICTION_THREADS, Predictor
from segkit.tasks.prediction_files import ImageLoader, InferenceImage, MapWriter, Report
from segkit.tasks.scaling import predict_image
from segkit.tasks.settings import InferenceSettings, RuntimeSettings
from segkit.tasks.trainer import build_trainer


class EnsembleTask(L.LightningModule):
    """Predicts with one network, or with members combined by the rule that was chosen on validation images."""

    def __init__(self, predictor: Predictor, inference: InferenceSettings) -> None:
        super().__init__()
        self.predictor = predictor
        self.inference = inference

    def predict_step(self, batch: InferenceImage, batch_idx: int) -> Floats:
        """Class probabilities (k, h, w) at the image's own size, as `inside_region`.

        On a CPU the bytes depend on the number of threads, of which `PREDICTION_THREADS` are used at most.
        """
        with deterministic(self.device, PREDICTION_THREADS):
            return predict_image(self.predictor, batch["image"], batch["region"], self.inference)


def predict(
    load: Callable[[], Predictor],
    rows: Sequence[Row],
    writer: MapWriter,
    inference: InferenceSettings,
    runtime: RuntimeSettings,
    work_dir: Path,
    label: str,
    report: Report | None = None,
) -> L.Trainer:
    """Predict the rows whose maps are missing, in fp32; ranks share them. Returns the Trainer, for its rank.

    `load` is called only if a map is missing; `report` is as of `ImageLoader`.

    Raises:
        ImageError: an image cannot be read, and there is no `report`.
    """
    missing = writer.missing(rows)
    # fp32, so scores do not include rounding errors of lower precisions.
    trainer = build_trainer(runtime, work_dir, label, precision="32-true", callbacks=[writer])
    predict_missing(
        trainer,
        missing,
        lambda: EnsembleTask(load(), inference),
        lambda own: ImageLoader(own, report, writer.classes, inference.scale == "auto"),
    )
    return trainer
