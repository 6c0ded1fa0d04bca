"""Inference: an image of any size in, class probabilities of the same size out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.classes import Classes
from segkit.data import labels
from segkit.data.fov import estimate_fov
from segkit.data.geometry import Geometry
from segkit.data.preprocessing import preprocess
from segkit.data.settings import NO_PREPROCESSING, GeometrySettings, PreprocessingSettings
from segkit.metrics.calibration import tempered
from segkit.metrics.curves import first_positive_level
from segkit.models import channels_last
from segkit.models.heads import as_outputs
from segkit.tasks.combine import Rule, combine
from segkit.tasks.inference import probabilities
from segkit.tasks.settings import InferenceSettings

MAX_WHOLE_PIXELS = 2_500_000
"""A larger image is predicted in tiles where no tile is given, so that memory stays bounded."""
AUTOMATIC_TILE, AUTOMATIC_OVERLAP = 1280, 0.125
"""Side of these tiles, and the share that two have in common: 160 pixels, more than twice what a U-Net with three
poolings reads on each side of a pixel. HRF's 3504x2336 pixels are six tiles."""
PREDICTION_THREADS = 2
"""At most. Probabilities on one thread differ from those on two by rounding, up to one level of 65535 as stored;
OMP_NUM_THREADS=1 gives the same bytes on every number of cores and devices."""


class Predictor(nn.Module, ABC):
    """A trained model: an image of any size to class probabilities of that size."""

    threshold: float
    """Binary tasks: the probability from which a pixel is positive."""
    fov_diameters: tuple[int, int] | None = None
    """Smallest and largest diameter of the training images' fields of view, in pixels; None if unknown."""
    temperature: float = 1.0
    """Of the probabilities, `segkit.metrics.calibration`; 1 changes nothing."""

    def forward(self, image: Pixels, inference: InferenceSettings, region: Bools | None = None) -> Floats:
        """Calibrated probabilities (k, h, w) of a uint8 image (h, w, 3); arguments as of `uncalibrated`."""
        return np.asarray(tempered(self.uncalibrated(image, inference, region), self.temperature))

    @abstractmethod
    def uncalibrated(self, image: Pixels, inference: InferenceSettings, region: Bools | None = None) -> Floats:
        """Probabilities (k, h, w) of a uint8 image (h, w, 3) at temperature 1.

        Args:
            image: as decoded; preprocessing is part of the model.
            inference: test-time augmentation and tiles.
            region: (h, w), the field of view; by default it is estimated where the preprocessing depends on it.
        """


class NetworkPredictor(Predictor):
    """One network with its training geometry and preprocessing."""

    def __init__(
        self,
        network: nn.Module,
        geometry: GeometrySettings,
        stride: int,
        threshold: float = 0.5,
        preprocessing: PreprocessingSettings = NO_PREPROCESSING,
    ) -> None:
        super().__init__()
        self.network = channels_last(network).eval()
        self.geometry = geometry
        self.stride = stride
        self.threshold = threshold
        self.preprocessing = preprocessing

    def uncalibrated(self, image: Pixels, inference: InferenceSettings, region: Bools | None = None) -> Floats:
        plan = Geometry.plan(self.geometry, image.shape[0], image.shape[1], self.stride)
        device = next(self.network.parameters()).device
        seen = self._preprocessed(image, region, plan)
        batch = torch.from_numpy(seen).to(device).permute(2, 0, 1)[None].float() / 255
        tiles = self._tiles(inference, batch.shape[-2] * batch.shape[-1])
        probs = probabilities(self._logits, batch, tiles, self.preprocessing.patch_size)
        return plan.restore_probs(probs[0].cpu().numpy())

    def _preprocessed(self, image: Pixels, region: Bools | None, plan: Geometry) -> Pixels:
        if region is None:
            needed = self.preprocessing.normalization == "image"
            region = estimate_fov(image) if needed else np.ones(image.shape[:2], np.bool_)
        return preprocess(plan.image(image), plan.region(region), self.preprocessing)

    def _tiles(self, inference: InferenceSettings, num_pixels: int) -> InferenceSettings:
        """The settings with the tile's side rounded up to a multiple of the network's stride."""
        if inference.tile is None and num_pixels <= MAX_WHOLE_PIXELS:
            return inference
        tile, overlap = inference.tile, inference.tile_overlap
        if tile is None:
            tile, overlap = AUTOMATIC_TILE, AUTOMATIC_OVERLAP
        return inference.model_copy(update={"tile": -(-tile // self.stride) * self.stride, "tile_overlap": overlap})

    def _logits(self, batch: torch.Tensor) -> torch.Tensor:
        return as_outputs(self.network(batch.contiguous(memory_format=torch.channels_last))).logits


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

    def uncalibrated(self, image: Pixels, inference: InferenceSettings, region: Bools | None = None) -> Floats:
        maps = np.stack([member(image, inference, region) for member in self.members])
        return combine(maps, self.rule, self.weights, self.thresholds)


def inside_region(probs: Floats, region: Bools) -> Floats:
    """Probabilities (k, h, w) where `region` (h, w) holds; elsewhere 0, or 1 for the background of several classes."""
    outside = np.zeros((len(probs), 1, 1), np.float32)
    outside[0] = len(probs) > 1
    return np.where(region, probs, outside)


def predicted_labels(levels: npt.NDArray[np.uint16], classes: Classes, threshold: float) -> labels.Labels:
    """The prediction (h, w) of probabilities as stored (k, h, w): bool in a binary task, else class indices."""
    if classes.kind == "binary":
        return np.asarray(levels[0] >= first_positive_level(threshold))
    return np.asarray(levels.argmax(0), dtype=np.uint8)
