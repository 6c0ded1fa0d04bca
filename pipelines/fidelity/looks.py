"""What is seen of an image: features by a network that is handed in and, where that is a teacher, its vessels.

Photographs and drawn images go the same way. Both begin as the GAN's squares; for a teacher they are scaled back to the
size of the photographs, as samples are, so that it sees them as it will see the samples.
"""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gan.data import undo_fit
from gan.fidelity.features import TorchScriptFeatures
from gan.settings import GanSettings
from pipelines.fidelity.photographs import plain
from segkit.data.fov import estimate_fov
from segkit.metrics.vessel_statistics import VesselStatistics, vessel_statistics
from segkit.tasks.repeatable import repeatable
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.weights import load_encoder, read_card

Image = npt.NDArray[np.uint8]


class Seen(NamedTuple):
    """What is kept of an image."""

    features: npt.NDArray[np.float32]
    """(d,)"""
    vessels: VesselStatistics | None
    """None where the network knows nothing of vessels."""


class Look(nn.Module, ABC):
    """Sees one square image (r, r, c) of levels."""

    name: str
    """Part of the key of every number."""

    @abstractmethod
    def forward(self, square: Image) -> Seen:
        """Features and, of a teacher, vessel statistics."""

    def balanced(
        self, features: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Features (n, d) as the measures take them, given the photographs' own (m, d)."""
        return features


class FileLook(Look):
    """By a TorchScript file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.network = TorchScriptFeatures(path)
        self.name = plain(path.stem)
        self.register_buffer("here", torch.zeros(0))

    def forward(self, square: Image) -> Seen:
        here = self.get_buffer("here").device
        with repeatable(here):
            features = self.network(torch.from_numpy(np.ascontiguousarray(square))[None].to(here))
        return Seen(features[0].cpu().numpy(), None)


class TeacherLook(Look):
    """By a segmentation network of ours: its encoder gives the features, its answer the vessels.

    Features are the means and the standard deviations of every channel of every level over the whole image, black
    border and all. Means tell how much there is of what a channel looks for (vessel, disc, shade), deviations how
    unevenly it lies; of the fine levels they see noise and blur, of the coarse ones the arrangement. Nothing of where
    things are is kept, so that mirroring and shifting change little.
    """

    def __init__(self, folder: Path, height: int, width: int, gan: GanSettings) -> None:
        super().__init__()
        predictor = load_encoder(folder)
        self.predictor = predictor
        self.height, self.width, self.fit = height, width, gan.fit
        self.name = _name_of(folder)
        self.level_sizes: list[int] = []
        self.levels: list[Tensor] = []
        self._watch(predictor.network)

    def _watch(self, network: nn.Module) -> None:
        """Keep what the encoder says while the network looks, instead of asking it twice."""
        encode = network.features

        def features(image: Tensor) -> list[Tensor]:
            self.levels = encode(image)  # type: ignore[operator]
            return self.levels

        network.features = features  # type: ignore[assignment]

    def forward(self, square: Image) -> Seen:
        image = undo_fit(square, self.height, self.width, self.fit).copy()  # Pillow lends its memory read-only
        with repeatable(next(self.parameters()).device), torch.inference_mode():
            probs = self.predictor(image, InferenceSettings())
            pooled = [
                torch.cat([level.mean((2, 3)), level.std((2, 3), correction=0)], dim=1)[0] for level in self.levels
            ]
        self.levels, self.level_sizes = [], [len(level) for level in pooled]
        vessels = vessel_statistics(probs >= self.predictor.threshold, estimate_fov(image))
        return Seen(torch.cat(pooled).float().cpu().numpy(), vessels)

    def balanced(
        self, features: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Each level scaled so that of the photographs it makes up an equal part of d, the mean squared length.

        Otherwise levels would count by how many channels they have and how loud these are. That mean is also what
        KID's kernel divides by.
        """
        ends = np.cumsum(self.level_sizes)
        parts = []
        for first, last in zip(ends - self.level_sizes, ends, strict=True):
            squared = np.square(reference[:, first:last]).sum(axis=1).mean()
            share = ends[-1] / len(self.level_sizes)
            parts.append(features[:, first:last] * np.sqrt(share / squared if squared > 0 else 1.0))
        return np.concatenate(parts, axis=1)


def open_look(features: Path, height: int, width: int, gan: GanSettings) -> Look:
    """The look through a model's folder or a TorchScript file.

    Args:
        features: what the user named.
        height: of the photographs.
        width: of the photographs.
        gan: how squares are made of photographs.

    Raises:
        WeightsError: it is neither, or damaged; or the model has no encoder.
    """
    if features.is_dir():
        return TeacherLook(features, height, width, gan)
    return FileLook(features)


def _name_of(folder: Path) -> str:
    """A model's name in keys: the stage that trained it, or its folder's name."""
    trained_by = read_card(folder).details.get("trained_by")
    return plain(str(trained_by or re.sub(r"-[0-9a-f]{12}$", "", folder.resolve().name)))
