"""The labelled images of one training phase. Each is decoded once and kept in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from segkit.core import images
from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ConfigError, DatasetError
from segkit.core.manifest import Manifest, Row
from segkit.data import labels as labels_of
from segkit.data import transforms
from segkit.data.batch import Batch
from segkit.data.crops import Crops
from segkit.data.fov import read_region
from segkit.data.geometry import Geometry
from segkit.data.mixing import build_pools
from segkit.data.preprocessing import preprocess
from segkit.data.sampling import BatchSampler, Draw
from segkit.data.settings import NO_PREPROCESSING, GeometrySettings, PreprocessingSettings, TrainingDataSettings


@dataclass(frozen=True)
class LabelledImage:
    """A labelled image in memory, at the network's size."""

    image: Pixels
    """(h, w, c), preprocessed."""
    target: Floats
    """(k, h, w) in [0, 1]."""
    region: Bools
    """(h, w); False in padding."""
    confidence: Floats | None
    """(h, w) in [0, 1]; None if all pixels have weight 1."""
    weight: float
    """Factor on the loss."""


def read_labelled_image(
    row: Row,
    geometry: GeometrySettings,
    stride: int,
    settings: TrainingDataSettings,
    classes: Classes = VESSEL,
    preprocessing: PreprocessingSettings = NO_PREPROCESSING,
) -> LabelledImage:
    """Decode one row, convert it to the network's size and preprocess it there.

    Raises:
        DatasetError: the label map has another size than the image.
        ImageError: a file cannot be read.
    """
    assert row.target is not None
    image = images.read_image(*row.image)
    plan = Geometry.plan(geometry, image.shape[0], image.shape[1], stride)
    region = read_region(row, classes, image)
    seen = preprocess(plan.image(image), plan.region(region), preprocessing)
    confidence = None
    if row.reference is not None:
        labels = labels_of.read_labels(row.reference, classes)
        _check_size(row, labels.shape, image)
        target = _hard_target(labels, plan, classes)
        region = region & labels_of.valid_pixels(labels, classes)
    else:
        probs = labels_of.read_probs(row.target.path, classes)
        _check_size(row, probs.shape[1:], image)
        if settings.pseudo_labels == "soft":
            target = np.stack([plan.probs(channel) for channel in probs])
        else:
            target = _hard_target(labels_of.labels_from_probs(probs, classes, row.threshold), plan, classes)
        if settings.pseudo_labels == "confidence":
            confidence = plan.probs(_margin(probs))
    weight = row.weight * (settings.synthetic_weight if row.origin == "synthetic" else 1.0)
    return LabelledImage(seen, target, plan.region(region), confidence, weight)


def _hard_target(labels: labels_of.Labels, plan: Geometry, classes: Classes) -> Floats:
    if classes.kind == "binary":
        return plan.label(labels.astype(bool))[None].astype(np.float32)
    return plan.classes(classes.target(labels))


def _margin(probs: Floats) -> Floats:
    """Probability of the most probable class minus that of the next one: (k, h, w) to (h, w), in [0, 1]."""
    if len(probs) == 1:
        return np.asarray(np.abs(2 * probs[0] - 1))
    second, first = np.sort(probs, axis=0)[-2:]
    return np.asarray(first - second)


def _check_size(row: Row, shape: tuple[int, ...], image: Pixels) -> None:
    height, width = image.shape[:2]
    if shape != (height, width):
        raise DatasetError(
            f"{row.target} is {shape[0]}x{shape[1]} pixels (h x w), its image {row.image.path.name} {height}x{width}"
        )


def to_batch(images: Sequence[LabelledImage]) -> Batch:
    """Stack images of one size into tensors."""
    region = torch.from_numpy(np.stack([image.region for image in images]))[:, None]
    confidence = [
        np.ones(image.region.shape, np.float32) if image.confidence is None else image.confidence for image in images
    ]
    return Batch(
        image=torch.from_numpy(np.stack([image.image for image in images])).permute(0, 3, 1, 2).float() / 255,
        target=torch.from_numpy(np.stack([image.target for image in images])),
        region=region,
        pixel_weight=torch.from_numpy(np.stack(confidence))[:, None] * region,
        weight=torch.tensor([image.weight for image in images], dtype=torch.float32),
    )


class TrainingImages(Dataset[Batch]):
    """Augmented batches; a batch is a function of the images and its draws.

    Args:
        images: real ones, then synthetic ones.
        num_real: number of the real ones.
        augmentations: of the real and of the synthetic images.
        crops: None for whole images.
    """

    def __init__(
        self, images: Sequence[LabelledImage], num_real: int, augmentations: tuple[str, str], crops: Crops | None
    ) -> None:
        self.images = images
        self.num_real = num_real
        self.real, self.synthetic = (transforms.build(augmentation, crops) for augmentation in augmentations)

    def __getitem__(self, draws: Sequence[Draw]) -> Batch:
        return to_batch([self._augmented(draw) for draw in draws])

    def _augmented(self, draw: Draw) -> LabelledImage:
        image = self.images[draw.index]
        transform = self.real if draw.index < self.num_real else self.synthetic
        augmented = transform(image.image, image.target, image.region, image.confidence, draw.seed)
        return LabelledImage(*augmented, weight=image.weight)


class ValidationImages(Dataset[Batch]):
    """Batches of one image without augmentation."""

    def __init__(self, images: Sequence[LabelledImage]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        return to_batch([self.images[index]])


def rank_share(images: Sequence[LabelledImage], rank: int, world_size: int) -> list[LabelledImage]:
    """Every `world_size`th image, starting at `rank`.

    A rank without an image gets the first one with an empty region, because Lightning raises an error for a rank
    without batches.
    """
    share = list(images[rank::world_size])
    return share or [replace(images[0], region=np.zeros_like(images[0].region))]


class SegmentationDataModule(L.LightningDataModule):
    """The batches of one phase: real, synthetic or mixed images for training, real images for validation."""

    def __init__(
        self,
        real: Manifest,
        synthetic: Manifest,
        settings: TrainingDataSettings,
        geometry: GeometrySettings,
        stride: int,
        seed: int,
        synthetic_replaced: bool = False,
        num_workers: int = 0,
        preprocessing: PreprocessingSettings = NO_PREPROCESSING,
    ) -> None:
        """Check the settings against the manifests.

        Args:
            synthetic: pseudo-labelled images; empty for a control.
            synthetic_replaced: as in `build_pools`.

        Raises:
            ConfigError: there are too few images, the classes differ, or the crop does not fit the stride.
        """
        super().__init__()
        self.settings = settings
        self.seed = seed
        self.num_workers = num_workers
        self.stride = stride
        self.geometry = geometry
        self.preprocessing = preprocessing
        self.classes = real.classes
        self.train_rows = real.split("train").labelled().rows
        self.val_rows = real.split("val").labelled().rows
        num_synthetic = (settings.num_synthetic or 0) if synthetic_replaced else len(synthetic)
        self.synthetic_rows = synthetic.rows[: settings.num_synthetic] if settings.data != "real" else ()
        self.train_images: list[LabelledImage] = []
        self.val_images: list[LabelledImage] = []
        self.pools = build_pools(settings, len(self.train_rows), num_synthetic, synthetic_replaced)
        if len(synthetic) and synthetic.classes.names != real.classes.names:
            raise ConfigError(
                f"the pseudo-labels are of {', '.join(synthetic.classes.names)}, the labels of "
                f"{', '.join(real.classes.names)}; predict them with a model that was trained on the same classes"
            )
        if settings.crop_size is not None and settings.crop_size % stride:
            raise ConfigError(f"crop_size {settings.crop_size} is not a multiple of the network's stride {stride}")

    def setup(self, stage: str) -> None:
        if self.val_images:
            return
        self.train_images = [self._read(row) for row in (*self.train_rows, *self.synthetic_rows)]
        self.val_images = [self._read(row) for row in self.val_rows]
        drawn = [self.train_images[index] for pool in self.pools for index in pool.indices]
        shapes = {image.region.shape for image in drawn}
        turned = {shape[::-1] for shape in shapes} if "symmetries" in self.settings.augmentations else set()
        sizes = sorted(shapes | turned)
        if len(sizes) > 1 and self.settings.crop_size is None and self.settings.batch_size > 1:
            listed = ", ".join(f"{height}x{width}" for height, width in sizes)
            raise ConfigError(
                f"training images of {listed} pixels (h x w) cannot share a batch; "
                "set the phase's crop_size, or geometry: {mode: resize, size: ...}"
            )

    def _read(self, row: Row) -> LabelledImage:
        return read_labelled_image(row, self.geometry, self.stride, self.settings, self.classes, self.preprocessing)

    @property
    def images_to_fit(self) -> list[LabelledImage]:
        """The images that a normalisation is fitted on: real training images, or synthetic ones without real ones."""
        return self.train_images[: len(self.train_rows)] or self.train_images

    def train_dataloader(self) -> DataLoader[Batch]:
        rank, world_size = self._rank_and_world_size()
        settings = self.settings
        if settings.batch_size % world_size:
            raise ConfigError(f"batch_size {settings.batch_size} cannot be shared evenly by {world_size} devices")
        crops = None
        if settings.crop_size is not None:
            crops = Crops(settings.crop_size, settings.crop_positive_prob, settings.crop_region_share)
        dataset = TrainingImages(self.train_images, len(self.train_rows), settings.augmentations, crops)
        sampler = BatchSampler(self.pools, settings.batch_size, self.seed, rank, world_size)
        # The sampler returns whole batches, so the loader does not batch.
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        rank, world_size = self._rank_and_world_size()
        share = ValidationImages(rank_share(self.val_images, rank, world_size))
        return self._loader(share)

    def _rank_and_world_size(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _loader(self, dataset: Dataset[Batch], sampler: BatchSampler | None = None) -> DataLoader[Batch]:
        workers = self.num_workers
        return DataLoader(
            dataset, batch_size=None, sampler=sampler, num_workers=workers, persistent_workers=workers > 0
        )
