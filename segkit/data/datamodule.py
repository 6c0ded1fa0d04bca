"""The labelled images of one training phase, each decoded once and kept in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from segkit.core import images
from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ConfigError, DatasetError
from segkit.core.manifest import Manifest, Row
from segkit.data import labels as labels_of
from segkit.data import transforms
from segkit.data.batch import Batch
from segkit.data.fov import read_region
from segkit.data.geometry import Geometry
from segkit.data.mixing import build_pools
from segkit.data.sampling import BatchSampler, Draw
from segkit.data.settings import GeometrySettings, TrainingDataSettings


@dataclass(frozen=True)
class LabelledImage:
    """A labelled image in memory, at the network's size."""

    image: npt.NDArray[np.uint8]
    """(h, w, 3)"""
    target: npt.NDArray[np.float32]
    """(k, h, w) in [0, 1]"""
    region: npt.NDArray[np.bool_]
    """(h, w), False in padding"""
    confidence: npt.NDArray[np.float32] | None
    """(h, w) in [0, 1]; None where every pixel counts in full"""
    weight: float


def read_labelled_image(
    row: Row, geometry: GeometrySettings, stride: int, settings: TrainingDataSettings, classes: Classes = VESSEL
) -> LabelledImage:
    """Decode one row and bring it to the network's size.

    Raises:
        DatasetError: the label map has another size than the image.
        ImageError: a file cannot be read.
    """
    assert row.target is not None
    image = images.read_image(*row.image)
    plan = Geometry.plan(geometry, image.shape[0], image.shape[1], stride)
    region = read_region(row, classes, image)
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
            target = np.stack([plan.probs(one) for one in probs])
        else:
            target = _hard_target(labels_of.labels_from_probs(probs, classes, row.threshold), plan, classes)
        if settings.pseudo_labels == "confidence":
            confidence = plan.probs(_margin(probs))
    weight = row.weight * (settings.synthetic_weight if row.origin == "synthetic" else 1.0)
    return LabelledImage(plan.image(image), target, plan.region(region), confidence, weight)


def _hard_target(labels: labels_of.Labels, plan: Geometry, classes: Classes) -> npt.NDArray[np.float32]:
    if classes.kind == "binary":
        return plan.label(labels.astype(bool))[None].astype(np.float32)
    return plan.classes(classes.target(labels))


def _margin(probs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How far the most probable class of each pixel is ahead of the next: (k, h, w) to (h, w), in [0, 1]."""
    if len(probs) == 1:
        return np.asarray(np.abs(2 * probs[0] - 1))
    second, first = np.sort(probs, axis=0)[-2:]
    return np.asarray(first - second)


def _check_size(row: Row, shape: tuple[int, ...], image: npt.NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    if shape != (height, width):
        raise DatasetError(
            f"{row.target} is {shape[0]}x{shape[1]} pixels (h x w), its image {row.image.path.name} {height}x{width}"
        )


def to_batch(pictures: Sequence[LabelledImage]) -> Batch:
    """Stack pictures of one size into tensors."""
    region = torch.from_numpy(np.stack([picture.region for picture in pictures]))[:, None]
    confidence = [
        np.ones(picture.region.shape, np.float32) if picture.confidence is None else picture.confidence
        for picture in pictures
    ]
    return Batch(
        image=torch.from_numpy(np.stack([picture.image for picture in pictures])).permute(0, 3, 1, 2).float() / 255,
        target=torch.from_numpy(np.stack([picture.target for picture in pictures])),
        region=region,
        pixel_weight=torch.from_numpy(np.stack(confidence))[:, None] * region,
        weight=torch.tensor([picture.weight for picture in pictures], dtype=torch.float32),
    )


class TrainingImages(Dataset[Batch]):
    """Augmented batches: what item `draws` is depends on nothing but the draws."""

    def __init__(self, pictures: Sequence[LabelledImage], augmentation: str, crop_size: int | None) -> None:
        self.images = pictures
        self.transform = transforms.build(augmentation, crop_size)

    def __getitem__(self, draws: Sequence[Draw]) -> Batch:
        return to_batch([self._augmented(self.images[draw.index], draw.seed) for draw in draws])

    def _augmented(self, picture: LabelledImage, seed: int) -> LabelledImage:
        moved = self.transform(picture.image, picture.target, picture.region, picture.confidence, seed)
        return LabelledImage(*moved, weight=picture.weight)


class ValidationImages(Dataset[Batch]):
    """One image a batch, as it is."""

    def __init__(self, pictures: Sequence[LabelledImage]) -> None:
        self.images = pictures

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        return to_batch([self.images[index]])


def rank_share(pictures: Sequence[LabelledImage], rank: int, world_size: int) -> list[LabelledImage]:
    """Every `world_size`th picture; a rank without one gets one with an empty region, which counts nothing.

    Lightning ends with an error where a rank has no batch at all.
    """
    share = list(pictures[rank::world_size])
    return share or [replace(pictures[0], region=np.zeros_like(pictures[0].region))]


class SegmentationDataModule(L.LightningDataModule):
    """Feeds one phase: real, synthetic or mixed batches to train on, real images to validate on."""

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
    ) -> None:
        """`real` holds splits train and val; `synthetic` the pseudo-labelled images, empty for a control."""
        super().__init__()
        self.settings = settings
        self.seed = seed
        self.num_workers = num_workers
        self.stride = stride
        self.geometry = geometry
        self.classes = real.classes
        self.train_rows = real.split("train").labelled().rows
        self.val_rows = real.split("val").labelled().rows
        wanted = (settings.num_synthetic or 0) if synthetic_replaced else len(synthetic)
        self.synthetic_rows = synthetic.rows[: settings.num_synthetic] if settings.data != "real" else ()
        self.train_images: list[LabelledImage] = []
        self.val_images: list[LabelledImage] = []
        self.pools = build_pools(settings, len(self.train_rows), wanted, synthetic_replaced)
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
        sizes = sorted({picture.region.shape for picture in drawn})
        if len(sizes) > 1 and self.settings.crop_size is None and self.settings.batch_size > 1:
            several = ", ".join(f"{height}x{width}" for height, width in sizes)
            raise ConfigError(
                f"training images of {several} pixels (h x w) cannot share a batch; "
                "set the phase's crop_size, or geometry: {mode: resize, size: ...}"
            )

    def _read(self, row: Row) -> LabelledImage:
        return read_labelled_image(row, self.geometry, self.stride, self.settings, self.classes)

    def train_dataloader(self) -> DataLoader[Batch]:
        rank, world_size = self._place()
        if self.settings.batch_size % world_size:
            raise ConfigError(f"batch_size {self.settings.batch_size} cannot be shared evenly by {world_size} devices")
        dataset = TrainingImages(self.train_images, self.settings.augmentation, self.settings.crop_size)
        sampler = BatchSampler(self.pools, self.settings.batch_size, self.seed, rank, world_size)
        # The sampler hands over whole batches, so the loader must not make batches of its own.
        return DataLoader(dataset, batch_size=None, sampler=sampler, **self._loading())

    def val_dataloader(self) -> DataLoader[Batch]:
        rank, world_size = self._place()
        share = ValidationImages(rank_share(self.val_images, rank, world_size))
        return DataLoader(share, batch_size=None, **self._loading())

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _loading(self) -> dict[str, Any]:
        return {"num_workers": self.num_workers, "persistent_workers": self.num_workers > 0}
