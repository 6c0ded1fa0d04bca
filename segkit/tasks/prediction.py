"""Trained models looking at images: each image at its own size in, its vessel probabilities at that size out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import nn
from torch.utils.data import DataLoader, Dataset

from segkit.core import images
from segkit.core.manifest import Row
from segkit.data.fov import read_fov
from segkit.data.geometry import Geometry
from segkit.data.settings import GeometrySettings
from segkit.models import channels_last
from segkit.tasks.combine import Rule, combine
from segkit.tasks.inference import probabilities
from segkit.tasks.settings import InferenceSettings

Image = npt.NDArray[np.uint8]
Probs = npt.NDArray[np.float32]


class Predictor(nn.Module, ABC):
    """A model as its user sees it: an image of any size to vessel probabilities of that size."""

    threshold: float
    """Probability from which a pixel is vessel."""

    @abstractmethod
    def forward(self, image: Image, inference: InferenceSettings) -> Probs:
        """Probabilities (h, w) of a uint8 image (h, w, 3)."""


class NetworkPredictor(Predictor):
    """One network with the geometry it was trained at."""

    def __init__(self, network: nn.Module, geometry: GeometrySettings, stride: int, threshold: float = 0.5) -> None:
        super().__init__()
        self.network = channels_last(network).eval()
        self.geometry = geometry
        self.stride = stride
        self.threshold = threshold

    def forward(self, image: Image, inference: InferenceSettings) -> Probs:
        plan = Geometry.plan(self.geometry, image.shape[0], image.shape[1], self.stride)
        device = next(self.network.parameters()).device
        batch = torch.from_numpy(plan.image(image)).to(device).permute(2, 0, 1)[None].float() / 255
        probs = probabilities(self._look, batch, inference)
        return plan.probs_back(probs[0, 0].cpu().numpy())

    def _look(self, batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(batch.contiguous(memory_format=torch.channels_last))
        return logits


class EnsemblePredictor(Predictor):
    """Several models, each at its own geometry, combined at the image's size."""

    def __init__(
        self,
        members: Sequence[Predictor],
        rule: Rule,
        weights: Sequence[float],
        thresholds: Sequence[float],
        threshold: float = 0.5,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.rule: Rule = rule
        self.weights = list(weights)
        self.thresholds = list(thresholds)
        self.threshold = threshold

    def forward(self, image: Image, inference: InferenceSettings) -> Probs:
        maps = np.stack([member(image, inference) for member in self.members])
        return combine(maps, self.rule, self.weights, self.thresholds)


class Named(TypedDict):
    """One image to look at."""

    name: str
    image: Image
    """(h, w, 3)"""
    fov: npt.NDArray[np.bool_]
    """(h, w); outside it nothing is vessel"""


class NamedImages(Dataset[Named]):
    """The images of a manifest, decoded when asked for."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Named:
        row = self.rows[index]
        image = images.read_image(row.image)
        return Named(name=row.name, image=image, fov=read_fov(row, image))


class ProbsWriter(BasePredictionWriter):
    """Writes each map as `<name>.png`, 16 bit, when it is ready; every rank its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__("batch")
        self.folder = folder

    def write_on_batch_end(
        self, trainer: L.Trainer, pl_module: Any, prediction: Probs, batch_indices: Any, batch: Named, *_: Any
    ) -> None:
        images.write_probs(self.folder / f"{batch['name']}.png", prediction)


def image_loader(rows: Sequence[Row], rank: int, world_size: int) -> DataLoader[Named]:
    """This rank's images, one at a time, so that a result does not depend on how many ranks there are.

    A rank for which none is left looks at the first one again: Lightning refuses an empty loader.
    """
    return DataLoader(NamedImages(rows[rank::world_size] or rows[:1]), batch_size=None, collate_fn=lambda item: item)
