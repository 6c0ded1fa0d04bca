"""A folder of projections, with a subfolder for each image and a record of the settings."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gan.drawing.distances import FeatureSource
from gan.drawing.projection import Projection, ProjectionSettings
from gan.drawing.sampling import levels_8bit
from gan.drawing.seed_folder import weights_digest
from gan.networks.generator import Generator
from gan.settings import GanSettings
from segkit.core import images
from segkit.core.arrays import Pixels
from segkit.core.errors import RequestError
from segkit.core.files import as_csv, write_text
from segkit.core.run_folder import RecordedFolder

RECORD = "projection.json"
PROJECTED, COMPARISON, DISTANCES, LATENT = "projected.png", "comparison.png", "distances.csv", "w.safetensors"

GAIN = 4
"""Factor of the difference between an image and its projection in the comparison."""

_TARGET = "image_sha256"


class ProjectionFolder:
    """The folder and its record."""

    def __init__(self, folder: Path, network: GanSettings) -> None:
        self.folder, self.network = folder, network
        self._recorded = RecordedFolder(folder, RECORD, f"*/{LATENT}", "projections", "made")

    def lock(self, names: Iterable[str], on_wait: Callable[[str], None]) -> AbstractContextManager[None]:
        """Lock the folder; as `RecordedFolder.lock`."""
        return self._recorded.lock(on_wait, names)

    def claim(
        self,
        generator: Generator,
        settings: ProjectionSettings,
        device: str,
        source: Path,
        features: FeatureSource | None,
    ) -> None:
        """Reserve the folder for projections with these settings; a killed run with the same ones is continued.

        Args:
            device: "cpu" or "cuda"; their last bits differ.

        Raises:
            RequestError: it holds projections of other or unknown settings.
        """
        record = {
            "weights_sha256": weights_digest(generator, self.network),
            "features_sha256": features and features.sha256,
            **settings.model_dump(mode="json"),
            "device": device,
        }
        self._recorded.claim(record, {"weights": source, "features": features and features.path})

    def holds(self, name: str, target: UInt8[Tensor, "c r r"]) -> bool:
        """Whether all files of an image's projection exist; `LATENT`, written last, holds the image's digest.

        Raises:
            RequestError: they are of another image with the same name.
        """
        folder, edge, channels = self.folder / name, self.network.resolution, self.network.image_channels
        try:
            with safe_open(folder / LATENT, "pt") as file:
                digest = (file.metadata() or {}).get(_TARGET)
        except (OSError, SafetensorError):
            return False
        if digest != _digest(target):
            raise RequestError(f"{folder} holds the projection of another image called {name!r}; choose another folder")
        return (
            images.is_complete_png(folder / PROJECTED, edge, edge, channels, 8)
            and images.is_complete_png(folder / COMPARISON, edge, 3 * edge, 1 if channels < 3 else 3, 8)
            and (folder / DISTANCES).is_file()
        )

    def write(self, name: str, target: UInt8[Tensor, "c r r"], projection: Projection) -> None:
        """Write the projection, the comparison, the steps' distances, and w with the noise."""
        folder, image, projected = (
            self.folder / name,
            target.permute(1, 2, 0).numpy(),
            levels_8bit(projection.image_pm1),
        )
        difference = np.minimum(np.abs(image.astype(int) - projected) * GAIN, 255).astype(np.uint8)
        panels = [_without_alpha(picture) for picture in (image, projected, difference)]
        images.write_image(folder / PROJECTED, projected)
        images.write_image(folder / COMPARISON, np.concatenate(panels, axis=1))
        rows = [{"step": float(number), **step._asdict()} for number, step in enumerate(projection.steps)]
        write_text(folder / DISTANCES, as_csv(rows, float_format=".10g"))
        tensors = {"w": projection.ws[0], **{f"noise.{key}": value for key, value in projection.noise.items()}}
        on_cpu = {key: value.cpu().contiguous() for key, value in tensors.items()}
        images.write_bytes(folder / LATENT, save(on_cpu, metadata={_TARGET: _digest(target)}))


def _digest(target: UInt8[Tensor, "c r r"]) -> str:
    return hashlib.sha256(target.contiguous().numpy().tobytes()).hexdigest()


def _without_alpha(image: Pixels) -> Pixels:
    """Gray or RGB without alpha."""
    return image[:, :, :1] if image.shape[2] < 3 else image[:, :, :3]
