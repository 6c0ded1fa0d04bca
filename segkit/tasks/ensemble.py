"""Predict with a trained model, one network or several."""

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning as L

from segkit.core.determinism import deterministic
from segkit.core.manifest import Row
from segkit.core.missing import predict_missing
from segkit.tasks.prediction import ImageLoader, InferenceImage, MapWriter, Predictor, Probs, Report
from segkit.tasks.scaling import predict_image
from segkit.tasks.settings import InferenceSettings, RuntimeSettings
from segkit.tasks.trainer import build_trainer


class EnsembleTask(L.LightningModule):
    """Predicts with members combined by the rule that validation chose; one network is an ensemble of one."""

    def __init__(self, predictor: Predictor, inference: InferenceSettings) -> None:
        super().__init__()
        self.predictor = predictor
        self.inference = inference

    def predict_step(self, batch: InferenceImage, batch_idx: int) -> Probs:
        """Class probabilities (k, h, w) at the image's own size, as `inside_region`.

        On a CPU in one thread, so that the bytes are the same however many processes share the cores.
        """
        with deterministic(self.device):
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

    Args:
        load: the model; called only if there is something to predict.
        rows: the images.
        writer: where the maps go.
        inference: test-time augmentation and tiles.
        runtime: where to compute.
        work_dir: where Lightning may leave files of its own.
        label: begins progress lines.
        report: as `ImageLoader`'s.

    Raises:
        ImageError: an image cannot be read, and there is no `report`.
    """
    missing = writer.missing(rows)
    # fp32: the scores are to show the network, not the rounding of its arithmetic.
    trainer = build_trainer(runtime, work_dir, label, precision="32-true", callbacks=[writer])
    predict_missing(
        trainer,
        missing,
        lambda: EnsembleTask(load(), inference),
        lambda own: ImageLoader(own, report, writer.classes),
    )
    return trainer
