"""Trained models looking at images: each image at its own size in, its vessel probabilities at that size out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import nn

from segkit.core import images
from segkit.core.errors import ImageError
from segkit.core.manifest import Row
from segkit.core.wording import counted
from segkit.data.fov import read_fov
from segkit.data.geometry import Geometry
from segkit.data.settings import GeometrySettings
from segkit.metrics.curves import first_vessel_level, quantise
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
        probs = probabilities(self._look, batch, self._whole_tiles(inference))
        return plan.probs_back(probs[0, 0].cpu().numpy())

    def _whole_tiles(self, inference: InferenceSettings) -> InferenceSettings:
        """The settings with the tile's side rounded up to a multiple of the network's stride."""
        if inference.tile is None:
            return inference
        return inference.model_copy(update={"tile": -(-inference.tile // self.stride) * self.stride})

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


Report = Callable[[Row, str, str], None]
"""Takes a row, "error" or "warning", and the text."""

MIN_SIDE = 32
"""A picture with a shorter side than this, in pixels, is probably no fundus photograph."""


def photograph_warnings(path: Path, image: Image) -> list[str]:
    """Why a decoded picture (h, w, 3) may not be the fundus photograph it is taken for; usually nothing."""
    height, width = image.shape[:2]
    warnings = []
    if min(height, width) < MIN_SIDE:
        warnings.append(f"only {width}x{height} pixels")
    if (image == image[:, :, :1]).all():
        levels = len(np.unique(image[:, :, 0]))
        warnings.append(
            f"only {counted(levels, 'gray level')}, as in a label map" if levels <= 2 else "gray, not in colour"
        )
    if 0 < image.max() < 32:
        warnings.append(f"nearly black, its brightest level is {image.max()} of 255")
    if (frames := images.num_frames(path)) > 1:
        warnings.append(f"the first of {frames} frames is used")
    return warnings


class ImageLoader:
    """Images of rows, decoded one after the other.

    Args:
        report: takes each image that cannot be read, which is left out, and each warning; without it the first image
            that cannot be read raises ImageError and nothing is warned of.
    """

    def __init__(self, rows: Sequence[Row], report: Report | None = None) -> None:
        self.rows, self.report = rows, report

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Named]:
        for row in self.rows:
            try:
                image = images.read_image(row.image)
                fov = read_fov(row, image)
                if fov.shape != image.shape[:2]:
                    sizes = [f"{shape[1]}x{shape[0]}" for shape in (fov.shape, image.shape)]
                    raise ImageError(f"{row.fov} is {sizes[0]} pixels, its image {sizes[1]}; give masks of that size")
            except ImageError as error:
                if self.report is None:
                    raise
                self.report(row, "error", str(error))
                continue
            if self.report is not None:
                for text in photograph_warnings(row.image, image):
                    self.report(row, "warning", text)
            yield Named(name=row.name, image=image, fov=fov)


def image_loader(rows: Sequence[Row], rank: int, world_size: int, report: Report | None = None) -> ImageLoader:
    """This rank's images, one at a time, so that a result does not depend on how many ranks there are.

    A rank for which none is left predicts the first one again: Lightning refuses an empty loader.
    """
    return ImageLoader(rows[rank::world_size] or rows[:1], report)


class MapWriter(BasePredictionWriter):
    """Writes each map when it is computed; every rank its own.

    Args:
        probs_dir: takes `<name>.png`, 16 bit.
        binary_dir: takes `<name>.png` with 255 where a probability, as stored, reaches the threshold; None for none.
        threshold: of the binary maps.
    """

    def __init__(self, probs_dir: Path, binary_dir: Path | None = None, threshold: float = 0.5) -> None:
        super().__init__("batch")
        self.probs_dir, self.binary_dir, self.threshold = probs_dir, binary_dir, threshold

    def paths(self, name: str) -> list[Path]:
        """The files of an image."""
        return [folder / f"{name}.png" for folder in (self.probs_dir, self.binary_dir) if folder is not None]

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that lack a file; files are whole or absent."""
        return [row for row in rows if not all(path.exists() for path in self.paths(row.name))]

    def write_on_batch_end(
        self, trainer: L.Trainer, pl_module: Any, prediction: Probs, batch_indices: Any, batch: Named, *_: Any
    ) -> None:
        name = f"{batch['name']}.png"
        images.write_probs(self.probs_dir / name, prediction)
        if self.binary_dir is not None:
            images.write_mask(self.binary_dir / name, quantise(prediction) >= first_vessel_level(self.threshold))
