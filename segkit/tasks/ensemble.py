"""Test and predict with a trained model, one network or several."""

import lightning as L
import numpy as np
import numpy.typing as npt
import torch

from segkit.metrics.vessel import VesselMetrics
from segkit.tasks.prediction import Named, Predictor, Probs
from segkit.tasks.settings import InferenceSettings


class LabelledImage(Named):
    """An image to test on."""

    vessels: npt.NDArray[np.bool_]
    """(h, w)"""


class EnsembleTask(L.LightningModule):
    """Predicts, and tests, with members combined by the rule their validation chose; one network is an ensemble of one."""

    def __init__(self, predictor: Predictor, inference: InferenceSettings) -> None:
        super().__init__()
        self.predictor = predictor
        self.inference = inference
        self.test_metrics = VesselMetrics(predictor.threshold)

    def predict_step(self, batch: Named, batch_idx: int) -> Probs:
        """Vessel probabilities (h, w) at the image's own size; 0 outside the field of view, of which no label speaks."""
        probs: Probs = self.predictor(batch["image"], self.inference)
        return np.where(batch["fov"], probs, np.float32(0))

    def test_step(self, batch: LabelledImage, batch_idx: int) -> None:
        probs, vessels, fov = self.predict_step(batch, batch_idx), batch["vessels"], batch["fov"]
        maps = (torch.from_numpy(np.ascontiguousarray(map_))[None, None].to(self.device) for map_ in (probs, vessels, fov))
        probs_n, vessels_n, fov_n = maps
        self.test_metrics.update(probs_n, vessels_n.float(), fov_n)

    def on_test_epoch_end(self) -> None:
        self.log_dict({f"test/{name}": torch.as_tensor(float(value)) for name, value in self.test_metrics.compute().items()})
        self.test_metrics.reset()
