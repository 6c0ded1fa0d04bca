"""Features of images, computed by a segmentation network or a TorchScript file and shared over devices.

Photographs and generated images are treated alike: both start as the GAN's squares. A segmentation network gets them at
the photographs' size, as it gets the samples that it labels.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from gan.checkpoints.torchscript import load_script
from gan.drawing.sampling import generate
from gan.fidelity.copies import CopySearch, Match
from gan.networks.generator import Generator
from gan.settings import GanSettings
from gan.training.data import load_images, undo_fit
from pipelines.fidelity.photographs import as_key, stage_key
from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.determinism import deterministic
from segkit.core.errors import SegkitError, WeightsError
from segkit.core.images import as_rgb
from segkit.core.missing import predict_missing
from segkit.data.fov import estimate_fov
from segkit.data.labels import Labels, labels_from_probs
from segkit.metrics.vessel_statistics import VesselStatistics, vessel_statistics
from segkit.tasks.settings import InferenceSettings, RuntimeSettings
from segkit.tasks.trainer import build_trainer
from segkit.tasks.weights import load_encoder, read_card

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImageSet:
    """Images that are measured together."""

    name: str
    """Key of the set in the files: one of the names in `pipelines.fidelity.assessment`."""
    title: str
    """Name of the set in tables and sentences."""
    sources: Mapping[str, Path | int]
    """By image name: its file, or the seed it is generated from."""
    truncation_psi: float = 1.0
    """Of the generated images."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Patient by image name; an image without one counts as a patient of its own."""


class ImageFeatures(NamedTuple):
    """Everything measured of one image."""

    name: str
    features: Floats
    """(d,)"""
    vessels: VesselStatistics | None
    """None if the features come from a TorchScript file."""
    match: Match
    """Distances to the reference photographs."""
    group: str
    """Patient of a photograph; of a generated image its name."""


def set_of_files(name: str, title: str, paths: Sequence[Path], groups: Mapping[Path, str] | None = None) -> ImageSet:
    """Files by stem, or by name where two stems would be equal, with their patients in `groups`."""
    stems = Counter(path.stem for path in paths)
    sources = {path.stem if stems[path.stem] == 1 else path.name: path for path in paths}
    patients = {image: groups[path] for image, path in sources.items() if groups and path in groups}
    return ImageSet(name, title, sources, groups=patients)


def stacked(images: Sequence[ImageFeatures], title: str) -> Vectors:
    """Features (n, d) of several images; `title` names them in the error.

    Raises:
        SegkitError: a feature is not finite.
    """
    rows = np.stack([image.features for image in images]).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise SegkitError(
            f"the features of {len(broken)} of the {len(rows)} {title} are not finite "
            f"(first: {images[broken[0]].name}); the network or the images are broken"
        )
    return rows


def read_square(path: Path, gan: GanSettings) -> Pixels:
    """A photograph (r, r, c) as the discriminator gets it."""
    square: Pixels = load_images([path], gan)[0].permute(1, 2, 0).contiguous().numpy()
    return square


class FeatureExtractor(nn.Module, ABC):
    """Computes the features of one square image and, if it segments vessels, their statistics."""

    name: str
    """Part of the key of every number."""

    @abstractmethod
    def forward(self, square: Pixels) -> tuple[Floats, VesselStatistics | None]:
        """Features (d,) and vessel statistics of levels (r, r, c)."""

    def balanced(self, features: Vectors, reference: Vectors) -> Vectors:
        """Features (n, d) scaled for the measures, given those of the reference photographs (m, d)."""
        return features


class ScriptFeatures(FeatureExtractor):
    """A network from a TorchScript file, as `inception-2015-12-05.pt` for the FID and KID of the papers.

    It is called as `module(images, return_features=True)` with uint8 (n, 3, r, r) and returns (n, d). Loading such a
    file runs code of whoever made it: only load one you trust. Grey images are repeated in three channels, and of
    four channels the first three count.

    Raises:
        WeightsError: as `load_script`, or the network is called otherwise.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.name = path, as_key(path.stem)
        self.network = load_script(path, torch.device("cpu"))
        self.register_buffer("empty", torch.zeros(0))

    @torch.inference_mode()
    def forward(self, square: Pixels) -> tuple[Floats, None]:
        device = self.get_buffer("empty").device
        image = torch.from_numpy(np.ascontiguousarray(as_rgb(square)).transpose(2, 0, 1)[None].copy()).to(device)
        try:
            with deterministic(device):
                features = self.network(image, return_features=True)
        except (RuntimeError, TypeError) as error:
            raise WeightsError(
                f"{self.path} could not be called as module(uint8 images (n, 3, r, r), return_features=True): "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 1:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise WeightsError(f"{self.path} returned {shape} for 1 image; (n, d) is expected")
        return features[0].float().cpu().numpy(), None


class TeacherFeatures(FeatureExtractor):
    """Features from the encoder of a segmentation network, and the vessels that the network segments.

    Features are the mean and the standard deviation of every channel of every encoder level over the whole image,
    including the black border; of a network that sees only patches, the mean over them. The mean measures how much of a
    channel's pattern there is, the deviation how unevenly it is spread. Positions are not kept, so mirroring and
    shifting change little.

    Vessels of a network for several classes are its class `vessel`, or everything but the background if it has none.
    """

    def __init__(self, folder: Path, height: int, width: int, gan: GanSettings) -> None:
        super().__init__()
        self.predictor = load_encoder(folder)
        self.classes = read_card(folder).classes
        self.height, self.width, self.fit = height, width, gan.fit
        self.name = _model_name(folder)
        preprocessing = self.predictor.preprocessing
        side = preprocessing.patch_size or 8 * self.predictor.stride
        levels = _encoder_levels(self.predictor.network, preprocessing.num_channels, side)
        self.level_sizes = [2 * num_channels for _, num_channels in levels]
        self._levels: list[list[Tensor]] = [[] for _ in levels]  # of each level, its maps of every batch of tiles
        for maps, (module, _) in zip(self._levels, levels, strict=True):
            module.register_forward_hook(lambda _, __, output, maps=maps: maps.append(output))

    def forward(self, square: Pixels) -> tuple[Floats, VesselStatistics]:
        image = undo_fit(square, self.height, self.width, self.fit).copy()  # Pillow's memory is read-only
        with deterministic(next(self.parameters()).device), torch.inference_mode():
            fov = estimate_fov(image)
            probs = self.predictor(image, InferenceSettings(), fov)
            features = torch.cat([_pool(torch.cat(maps)) for maps in self._levels])
            for maps in self._levels:
                maps.clear()
        labels = labels_from_probs(probs, self.classes, self.predictor.threshold)
        vessels = vessel_statistics(self._vessels(labels), fov)
        return features.float().cpu().numpy(), vessels

    def _vessels(self, labels: Labels) -> Bools:
        if self.classes.kind == "binary":
            return labels
        return labels == self.classes.names.index("vessel") if "vessel" in self.classes.names else labels > 0

    def balanced(self, features: Vectors, reference: Vectors) -> Vectors:
        """Each level scaled to an equal share of d, the mean squared length over the reference photographs.

        Otherwise a level would count by its number of channels and their scale. KID's kernel divides by d.
        """
        ends = np.cumsum(self.level_sizes)
        share = ends[-1] / len(ends)
        parts = []
        for first, last in zip(ends - self.level_sizes, ends, strict=True):
            squared = np.square(reference[:, first:last]).sum(axis=1).mean()
            parts.append(features[:, first:last] * np.sqrt(share / squared if squared > 0 else 1.0))
        return np.concatenate(parts, axis=1)


def _pool(level: Tensor) -> Tensor:
    """Mean and standard deviation of each channel, averaged over images: feature maps (n, c, h, w) to (2c)."""
    return torch.cat([level.mean((2, 3)), level.std((2, 3), correction=0)], dim=1).mean(dim=0)


def _encoder_levels(network: nn.Module, num_channels: int, side: int) -> list[tuple[nn.Module, int]]:
    """The modules whose outputs `network.features` returns, and their numbers of channels; tried on a blank square."""
    outputs: dict[nn.Module, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda module, _, output: outputs.update({module: output}))
        for module in network.modules()
    ]
    with torch.inference_mode():
        levels: list[Tensor] = network.features(torch.zeros(1, num_channels, side, side))  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return [(next(module for module, output in outputs.items() if output is level), level.shape[1]) for level in levels]


def load_extractor(features: Path, height: int, width: int, gan: GanSettings) -> FeatureExtractor:
    """The extractor of a model's folder or a TorchScript file.

    `gan` defines how squares are made of photographs, which have `height` and `width`.

    Raises:
        WeightsError: it is neither, or damaged; or the model has no encoder.
    """
    if features.is_dir():
        return TeacherFeatures(features, height, width, gan)
    return ScriptFeatures(features)


def _model_name(folder: Path) -> str:
    """The stage that trained the model, or the name of its folder."""
    trained_by = read_card(folder).details.get("trained_by")
    return as_key(str(trained_by)) if trained_by else stage_key(folder)


class FeatureTask(L.LightningModule):
    """Extracts features and searches the nearest reference photograph, one image at a time.

    Args:
        gan: how squares are made of photographs.
        generator: generates the images that are given as seeds; None if all are files.
    """

    def __init__(
        self, extractor: FeatureExtractor, copies: CopySearch, gan: GanSettings, generator: Generator | None = None
    ) -> None:
        super().__init__()
        self.extractor, self.copies, self.gan, self.generator = extractor, copies, gan, generator
        self.images = ImageSet("", "", {})
        self.results: dict[int, ImageFeatures] = {}

    def square(self, images: ImageSet, name: str) -> Pixels:
        """An image of the set as the GAN's square (r, r, c)."""
        source = images.sources[name]
        if isinstance(source, Path):
            return read_square(source, self.gan)
        assert self.generator is not None
        return generate(self.generator, source, images.truncation_psi)

    def predict_step(self, batch: int, batch_idx: int) -> int:
        """Keep the features of the image of this number; Lightning warns if nothing is returned."""
        name = list(self.images.sources)[batch]
        square = self.square(self.images, name)
        features, vessels = self.extractor(square)
        self.results[batch] = ImageFeatures(
            name, features, vessels, self.copies.match(square), self.images.groups.get(name, name)
        )
        return batch


def extract(
    task: FeatureTask, images: ImageSet, runtime: RuntimeSettings, work_dir: Path, label: str
) -> list[ImageFeatures]:
    """Features of every image of the set, in its order; each rank computes a part and gets all of them."""
    trainer = build_trainer(runtime, work_dir, label, precision="32-true")
    task.images, task.results = images, {}
    numbers = list(range(len(images.sources)))
    if not numbers:
        return []
    predict_missing(trainer, numbers, lambda: task, lambda own: own)
    parts: list[dict[int, ImageFeatures]] = [task.results]
    if trainer.world_size > 1:
        parts = [{} for _ in range(trainer.world_size)]
        dist.all_gather_object(parts, task.results)
    merged = {number: result for part in parts for number, result in part.items()}
    return [merged[number] for number in numbers]
