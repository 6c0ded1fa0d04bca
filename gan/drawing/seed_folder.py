"""A folder of drawn images, one file for each seed, with a record of the settings."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from gan.drawing.sampling import levels_8bit, levels_16bit, sample_grid
from gan.drawing.seed_task import draw_seeds
from gan.networks.generator import Generator
from gan.settings import GanSettings, SamplingSettings
from segkit.core import images
from segkit.core.errors import RequestError
from segkit.core.run_folder import RecordedFolder

RECORD = "sampling.json"


class SeedFolder:
    """The folder and its record.

    Args:
        bits: 8 or 16 per level.
    """

    def __init__(self, folder: Path, network: GanSettings, bits: Literal[8, 16]) -> None:
        self.folder, self.network, self.bits = folder, network, bits
        self._recorded = RecordedFolder(folder, RECORD, "seed*.png", "images", "drawn")

    def path(self, seed: int) -> Path:
        """The file of a seed's image."""
        return self.folder / f"seed{seed:04d}.png"

    def missing(self, seeds: Iterable[int]) -> list[int]:
        """The seeds, without repeats, whose files are missing, incomplete or of another format."""
        edge, channels = self.network.resolution, self.network.image_channels
        return [
            seed
            for seed in dict.fromkeys(seeds)
            if not images.is_complete_png(self.path(seed), edge, edge, channels, self.bits)
        ]

    def lock(self, on_wait: Callable[[str], None]) -> AbstractContextManager[None]:
        """Lock the folder; as `RecordedFolder.lock`."""
        return self._recorded.lock(on_wait)

    def claim(self, generator: Generator, sampling: SamplingSettings, device: str, source: Path) -> None:
        """Reserve the folder for images with these settings; a killed run with the same ones is continued.

        The record holds all that can change a byte of an image: the weights' digest, the settings, the type of device.

        Args:
            device: "cpu" or "cuda"; their last bits differ.

        Raises:
            RequestError: it holds images of other or unknown settings, or the cutoff exceeds the network's styles.
        """
        if sampling.truncation_cutoff is not None and sampling.truncation_cutoff > generator.num_ws:
            raise RequestError(
                f"truncation_cutoff {sampling.truncation_cutoff} exceeds the {generator.num_ws} styles of this network"
            )
        settings = {
            "weights_sha256": weights_digest(generator, self.network),
            **sampling.model_dump(mode="json"),
            "bits": self.bits,
            "device": device,
        }
        self._recorded.claim(settings, {"weights": source})

    def draw_missing(
        self, trainer: L.Trainer, generator: Generator, sampling: SamplingSettings, seeds: Iterable[int]
    ) -> int:
        """Draw the images that are missing, shared over the Trainer's ranks, and return their number.

        Args:
            trainer: with a `SeedWriter` for this folder.
        """
        missing = self.missing(seeds)
        draw_seeds(trainer, generator, sampling, missing)
        return len(missing)

    def write_grid(self, path: Path, seeds: Iterable[int], max_images: int) -> int:
        """Write a sheet of the first images and return their number."""
        shown = list(dict.fromkeys(seeds))[:max_images]
        images.write_image(path, sample_grid([images.read_image(self.path(seed)) for seed in shown]))
        return len(shown)


def weights_digest(generator: Generator, network: GanSettings) -> str:
    """Hexadecimal sha256 of a generator: its tensors by name, and its clamp."""
    digest = hashlib.sha256(f"clamp {network.conv_clamp}".encode())
    for name, value in sorted(generator.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class SeedWriter(BasePredictionWriter):
    """Writes images as they are drawn; each rank writes its own."""

    def __init__(self, folder: SeedFolder) -> None:
        super().__init__("batch")
        self.folder = folder

    def write_on_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, prediction: dict[str, Tensor], *_: object
    ) -> None:
        levels = levels_8bit if self.folder.bits == 8 else levels_16bit
        for seed, image_pm1 in zip(prediction["seeds"].tolist(), prediction["images_pm1"], strict=True):
            images.write_image(self.folder.path(seed), levels(image_pm1))
