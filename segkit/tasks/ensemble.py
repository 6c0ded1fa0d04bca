"""Test and predict with a trained model, one network or several."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch

from segkit.core.manifest import Row
from segkit.metrics.vessel import VesselMetrics
from segkit.tasks.prediction import MapWriter, Named, Predictor, Probs, Report, image_loader
from segkit.tasks.repeatable import repeatable
from segkit.tasks.settings import InferenceSettings, RuntimeSettings
from segkit.tasks.trainer import build_trainer


class LabelledImage(Named):
    """An image to test on."""

    vessels: npt.NDArray[np.bool_]
    """(h, w)"""


class EnsembleTask(L.LightningModule):
    """Predicts and tests with members combined by the rule validation chose; one network is an ensemble of one."""

    def __init__(self, predictor: Predictor, inference: InferenceSettings) -> None:
        super().__init__()
        self.predictor = predictor
        self.inference = inference
        self.test_metrics = VesselMetrics(predictor.threshold)

    def predict_step(self, batch: Named, batch_idx: int) -> Probs:
        """Vessel probabilities (h, w) at the image's own size; 0 outside the field of view.

        On a CPU in one thread, so that the bytes are the same however many processes share the cores.
        """
        with repeatable(self.device):
            probs: Probs = self.predictor(batch["image"], self.inference)
        return np.where(batch["fov"], probs, np.float32(0))

    def test_step(self, batch: LabelledImage, batch_idx: int) -> None:
        probs = self.predict_step(batch, batch_idx)
        self.test_metrics.update(self._one(probs), self._one(batch["vessels"]).float(), self._one(batch["fov"]))

    def _one(self, map_: npt.NDArray[Any]) -> torch.Tensor:
        """A map (h, w) as a batch (1, 1, h, w)."""
        return torch.from_numpy(np.ascontiguousarray(map_))[None, None].to(self.device)

    def on_test_epoch_end(self) -> None:
        values = self.test_metrics.compute()
        self.log_dict({f"test/{name}": torch.as_tensor(float(value)) for name, value in values.items()})
        self.test_metrics.reset()


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
    # All ranks have listed what is missing before one of them begins to write, and the model is there.
    trainer.strategy.barrier()
    if missing:
        loader = image_loader(missing, trainer.global_rank, trainer.world_size, report)
        trainer.predict(EnsembleTask(load(), inference), loader, return_predictions=False)
    trainer.strategy.barrier()
    return trainer
