"""Training images in memory, and their order as a pure function of seed and position."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from gan.settings import GanSettings
from gan.training.draws import mix_seed
from segkit.core.errors import DatasetError
from segkit.core.images import as_rgb, read_image

Fit = Literal["pad", "crop", "squash"]


def fit_to_square(image: npt.NDArray[np.uint8], resolution: int, fit: Fit = "pad") -> npt.NDArray[np.uint8]:
    """Make (h, w, c) square by black borders, a centre crop or stretching, then resize to `resolution` (Lanczos)."""
    height, width = image.shape[:2]
    if fit == "pad":
        edge = max(height, width)
        top, left = (edge - height) // 2, (edge - width) // 2
        image = np.pad(image, [(top, edge - height - top), (left, edge - width - left), (0, 0)])
    elif fit == "crop":
        edge = min(height, width)
        top, left = (height - edge) // 2, (width - edge) // 2
        image = image[top : top + edge, left : left + edge]
    channels = [
        np.asarray(Image.fromarray(channel).resize((resolution, resolution), Image.Resampling.LANCZOS))
        for channel in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, axis=2)


def undo_fit(image: npt.NDArray[np.uint8], height: int, width: int, fit: Fit) -> npt.NDArray[np.uint8]:
    """From the GAN's square (r, r, c) back to a photograph (height, width, 3), the inverse of `fit_to_square`.

    Gray is repeated and alpha left out. Pixels outside a centre crop are black.
    """
    edge = {"pad": max(height, width), "crop": min(height, width)}.get(fit)
    size = (width, height) if edge is None else (edge, edge)
    resized = np.asarray(Image.fromarray(as_rgb(image)).resize(size, Image.Resampling.LANCZOS))
    if fit == "pad":
        top, left = (size[1] - height) // 2, (size[0] - width) // 2
        return resized[top : top + height, left : left + width]
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    return np.pad(resized, [(top, height - size[1] - top), (left, width - size[0] - left), (0, 0)])


def to_channels(image: npt.NDArray[np.uint8], image_channels: int) -> npt.NDArray[np.uint8]:
    """RGB (h, w, 3) as it is, or as one channel of luminance (ITU-R 601)."""
    if image_channels == image.shape[2]:
        return image
    if image_channels == 1 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
    raise DatasetError(
        f"images have {image.shape[2]} channels, the network {image_channels}; networks for photographs have 3 or 1"
    )


def load_images(paths: Sequence[Path], settings: GanSettings) -> UInt8[Tensor, "n c r r"]:
    """Read, fit and stack the training images.

    Raises:
        DatasetError: there are no images.
        ImageError: an image cannot be read.
    """
    if not paths:
        raise DatasetError("there is no image to train the GAN on")
    images = [
        fit_to_square(to_channels(read_image(path), settings.image_channels), settings.resolution, settings.fit)
        for path in paths
    ]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def epoch_order(seed: int, epoch: int, num_items: int) -> npt.NDArray[np.int64]:
    """The order of one pass over the data."""
    return np.random.default_rng(mix_seed(seed, epoch)).permutation(num_items)


def items_at(seed: int, position: int, count: int, num_items: int) -> list[int]:
    """The items at `position`, ..., `position + count - 1` of the endless stream."""
    orders = {
        epoch: epoch_order(seed, epoch, num_items)
        for epoch in range(position // num_items, (position + count - 1) // num_items + 1)
    }
    return [int(orders[i // num_items][i % num_items]) for i in range(position, position + count)]


class BatchStream(Iterable[Tensor]):
    """This rank's part of each batch, from a position to the end of training.

    Rank r takes every `world`-th image of the batch from the r-th on, so the whole batch does not depend on the number
    of ranks.

    Args:
        num_batches: of the whole training, including those before `first_position`.
        first_position: real images shown before this stream.
        pin_memory: return batches in page-locked memory, from which a GPU copies them while the host continues.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "n c r r"],
        settings: GanSettings,
        seed: int,
        num_batches: int,
        first_position: int = 0,
        rank: int = 0,
        world: int = 1,
        pin_memory: bool = False,
    ) -> None:
        if settings.batch_size % world:
            raise DatasetError(f"batch_size {settings.batch_size} cannot be shared by {world} devices")
        self.images, self.settings, self.seed = images, settings, seed
        self.num_batches, self.first_position, self.rank, self.world = num_batches, first_position, rank, world
        self.pin_memory = pin_memory

    def __len__(self) -> int:
        """Batches of the whole training, as Lightning expects."""
        return self.num_batches

    def batch_at(self, position: int) -> UInt8[Tensor, "m c r r"]:
        """This rank's images of the batch that begins at a position of the stream."""
        num_items = len(self.images) * (2 if self.settings.x_flips else 1)
        items = items_at(self.seed, position, self.settings.batch_size, num_items)[self.rank :: self.world]
        batch = self.images[[item % len(self.images) for item in items]]
        mirrored = torch.tensor([item >= len(self.images) for item in items])
        batch = torch.where(mirrored[:, None, None, None], batch.flip(3), batch)
        return batch.pin_memory() if self.pin_memory else batch

    def state_dict(self) -> dict[str, int]:
        """Empty, since the position is the task's clock; Lightning requires it of a resumable loader."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Does nothing; see `state_dict`."""

    def __iter__(self) -> Iterator[Tensor]:
        end = len(self) * self.settings.batch_size
        for position in range(self.first_position, end, self.settings.batch_size):
            yield self.batch_at(position)


class GanImages(L.LightningDataModule):
    """The training images of one run; the stream continues at the task's clock.

    Args:
        images: uint8 (n, c, r, r), as `load_images` returns them.
    """

    def __init__(self, images: UInt8[Tensor, "n c r r"], settings: GanSettings, seed: int) -> None:
        super().__init__()
        expected = (settings.image_channels, settings.resolution, settings.resolution)
        if tuple(images.shape[1:]) != expected:
            raise DatasetError(f"training images are {tuple(images.shape[1:])}, the network draws {expected}")
        self.images, self.settings, self.seed = images, settings, seed

    def train_dataloader(self) -> BatchStream:
        # Lightning restores the checkpoint, and with it the clock, before it requests the loader
        trainer = self.trainer
        assert trainer is not None
        position = int(trainer.lightning_module.num_images_seen)  # type: ignore[arg-type]
        on_gpu = trainer.strategy.root_device.type == "cuda"
        place = (position, trainer.global_rank, trainer.world_size, on_gpu)
        return BatchStream(self.images, self.settings, self.seed, trainer.max_steps, *place)
