"""Test and predict with a trained model, one network or several."""

from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch

from segkit.metrics.vessel import VesselMetrics
from segkit.tasks.prediction import Named, Predictor, Probs
from segkit.tasks.repeatable import repeatable
from segkit.tasks.settings import InferenceSettings


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
