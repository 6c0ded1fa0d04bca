"""Inference: an image of any size in, class probabilities of the same size out."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import nn

from segkit.core import images
from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ImageError
from segkit.core.manifest import Row
from segkit.core.wording import counted
from segkit.data import labels
from segkit.data.fov import estimate_fov, is_blank, read_region
from segkit.data.geometry import Geometry
from segkit.data.preprocessing import preprocess
from segkit.data.settings import NO_PREPROCESSING, GeometrySettings, PreprocessingSettings
from segkit.metrics.calibration import tempered
from segkit.metrics.curves import first_positive_level, quantise
from segkit.models import channels_last
from segkit.models.heads import as_outputs
from segkit.tasks.combine import Rule, combine
from segkit.tasks.inference import probabilities
from segkit.tasks.settings import InferenceSettings

Image = npt.NDArray[np.uint8]
Probs = npt.NDArray[np.float32]
Region = npt.NDArray[np.bool_]

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

    def forward(self, image: Image, inference: InferenceSettings, region: Region | None = None) -> Probs:
        """Calibrated probabilities (k, h, w) of a uint8 image (h, w, 3); arguments as of `uncalibrated`."""
        return np.asarray(tempered(self.uncalibrated(image, inference, region), self.temperature))

    @abstractmethod
    def uncalibrated(self, image: Image, inference: InferenceSettings, region: Region | None = None) -> Probs:
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

    def uncalibrated(self, image: Image, inference: InferenceSettings, region: Region | None = None) -> Probs:
        plan = Geometry.plan(self.geometry, image.shape[0], image.shape[1], self.stride)
        device = next(self.network.parameters()).device
        seen = self._preprocessed(image, region, plan)
        batch = torch.from_numpy(seen).to(device).permute(2, 0, 1)[None].float() / 255
        tiles = self._tiles(inference, batch.shape[-2] * batch.shape[-1])
        probs = probabilities(self._logits, batch, tiles, self.preprocessing.patch_size)
        return plan.restore_probs(probs[0].cpu().numpy())

    def _preprocessed(self, image: Image, region: Region | None, plan: Geometry) -> Image:
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

    def uncalibrated(self, image: Image, inference: InferenceSettings, region: Region | None = None) -> Probs:
        maps = np.stack([member(image, inference, region) for member in self.members])
        return combine(maps, self.rule, self.weights, self.thresholds)


def inside_region(probs: Probs, region: npt.NDArray[np.bool_]) -> Probs:
    """Probabilities (k, h, w) where `region` (h, w) holds; elsewhere 0, or 1 for the background of several classes."""
    outside = np.zeros((len(probs), 1, 1), np.float32)
    outside[0] = len(probs) > 1
    return np.where(region, probs, outside)


def predicted_labels(levels: npt.NDArray[np.uint16], classes: Classes, threshold: float) -> labels.Labels:
    """The prediction (h, w) of probabilities as stored (k, h, w): bool in a binary task, else class indices."""
    if classes.kind == "binary":
        return np.asarray(levels[0] >= first_positive_level(threshold))
    return np.asarray(levels.argmax(0), dtype=np.uint8)


class InferenceImage(TypedDict):
    """One image to predict."""

    name: str
    image: Image
    """(h, w, 3)"""
    region: Region
    """(h, w); pixels outside are not predicted."""


Report = Callable[[Row, str, str], None]
"""Called with a row, "error" or "warning", and the text."""

MIN_SIDE = 32
"""A picture with a shorter side than this, in pixels, is probably no image to segment."""


PALETTE = 256
"""Colours of a GIF or a palette PNG; a photograph converted to one has lost its thin vessels."""


def _num_colors(image: Image) -> int:
    """Different colours among at most 2^18 pixels, spread over the image."""
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // 2**16))
    packed = image[::step, ::step].astype(np.uint32) @ np.array([1, 2**8, 2**16], np.uint32)
    return len(np.unique(packed))


def image_warnings(row: Row, image: Image, classes: Classes, num_pages: int) -> list[str]:
    """Why a decoded picture (h, w, 3) may not be an image of the kind that a model was trained on; usually nothing.

    Args:
        row: of the picture.
        image: the picture.
        classes: of the model.
        num_pages: pages of the picture's file that are predicted.
    """
    height, width = image.shape[:2]
    warnings = []
    if min(height, width) < MIN_SIDE:
        warnings.append(f"only {width}x{height} pixels")
    if is_blank(image):
        warnings.append("blank, so nothing is predicted")
    elif (image == image[:, :, :1]).all():
        levels = len(np.unique(image[:, :, 0]))
        if levels <= 2:
            warnings.append(f"only {counted(levels, 'gray level')}, as in a label map")
        elif classes.field_of_view:
            warnings.append("gray, not in colour")
    elif _num_colors(image) <= PALETTE < height * width / 4:
        warnings.append(f"not more than {PALETTE} colours, as in a GIF; give the original photograph")
    if 0 < image.max() < 32:
        warnings.append(f"nearly black, its brightest level is {image.max()} of 255")
    if num_pages == 1 and (frames := images.num_frames(row.image.path)) > 1:
        warnings.append(f"the first of {frames} frames is used")
    return warnings


class ImageLoader:
    """Images of rows, decoded one after the other.

    Args:
        rows: the images.
        report: takes each image that cannot be read, which is left out, and each warning; without it the first image
            that cannot be read raises ImageError and nothing is warned of.
        classes: of the model; they state whether images have a field of view.
    """

    def __init__(self, rows: Sequence[Row], report: Report | None = None, classes: Classes = VESSEL) -> None:
        self.rows, self.classes, self.report = rows, classes, report

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[InferenceImage]:
        pages = Counter(row.image.path for row in self.rows)
        for row in self.rows:
            try:
                image = images.read_image(*row.image)
                region = read_region(row, self.classes, image)
                if region.shape != image.shape[:2]:
                    sizes = [f"{shape[1]}x{shape[0]}" for shape in (region.shape, image.shape)]
                    raise ImageError(
                        f"{row.region} is {sizes[0]} pixels, its image {sizes[1]}; give masks of that size"
                    )
            except ImageError as error:
                if self.report is None:
                    raise
                self.report(row, "error", str(error))
                continue
            if self.report is not None:
                for text in image_warnings(row, image, self.classes, pages[row.image.path]):
                    self.report(row, "warning", text)
            yield InferenceImage(name=row.name, image=image, region=region)


class MapWriter(BasePredictionWriter):
    """Writes each map when it is computed; every rank writes its own maps.

    Args:
        probs_dir: folder of the 16-bit probabilities (`segkit.data.labels.probs_path`).
        classes: of the model.
        labels_dir: folder of the predictions as `<name>.png`: 255 where the stored probability reaches the threshold,
            or the index of the most probable class; None to write none.
        threshold: of binary predictions.
    """

    def __init__(
        self, probs_dir: Path, classes: Classes = VESSEL, labels_dir: Path | None = None, threshold: float = 0.5
    ) -> None:
        super().__init__("batch")
        self.probs_dir, self.classes, self.labels_dir, self.threshold = probs_dir, classes, labels_dir, threshold

    def paths(self, name: str) -> list[Path]:
        """The output files of an image."""
        maps = [labels.probs_path(self.probs_dir, name, self.classes)]
        return maps if self.labels_dir is None else [*maps, self.labels_dir / f"{name}.png"]

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with a missing file; existing files are complete."""
        return [row for row in rows if not all(path.exists() for path in self.paths(row.name))]

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: object,
        prediction: Probs,
        batch_indices: object,
        batch: InferenceImage,
        *_: object,
    ) -> None:
        probs, *others = self.paths(batch["name"])
        labels.write_probs(probs, prediction)
        for path in others:
            labels.write_labels(
                path, predicted_labels(quantise(prediction), self.classes, self.threshold), self.classes
            )
