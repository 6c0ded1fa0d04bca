"""Snapshots during training: sample grids, always of the same seeds, and the averaged generator."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning as L
import numpy as np
import numpy.typing as npt
from torch import Tensor

from gan.checkpoints import weights
from gan.drawing.sampling import generate, sample_grid
from gan.settings import GanSettings, snapshot_steps
from gan.training.task import StyleGAN2Task
from segkit.core.errors import RequestError
from segkit.core.images import write_image

GRIDS, SNAPSHOTS = "grids", "snapshots"
_SNAPSHOT_NAME = re.compile(r"kimg([0-9]+(?:\.[0-9]+)?)")
REALS = "reals.png"


def snapshot_name(num_images_seen: int) -> str:
    """`kimg` and the thousands of images seen; the names sort by time."""
    return f"kimg{num_images_seen / 1000:010.3f}"


def kimg_of(path: Path) -> float:
    """Thousands of images seen, from the name of a grid."""
    return float(path.stem.removeprefix("kimg"))


class Snapshots(L.Callback):
    """Write grids and generators into the folders `grids` and `snapshots` of `folder`; rank 0 only.

    Before training: `grids/reals.png`, the first training images as the discriminator receives them, and
    `grids/kimg000000.000.png`. Each `snapshot_kimg` and at the end: `grids/<snapshot_name>.png`, and
    `snapshots/<snapshot_name>/`, which `gan.drawing.sampling.read_generator` reads. Grids are drawn without truncation.

    Each file is whole or absent, and a snapshot's settings are written last: a folder without them is not loaded. The
    resumed run rewrites incomplete snapshots, since Lightning saves checkpoints after all other callbacks.
    """

    def __init__(self, folder: Path, on_grid: Callable[[Path], None] | None = None) -> None:
        """`on_grid` is called with the path of each grid that was written."""
        self.folder = folder
        self.on_grid = on_grid

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, StyleGAN2Task)
        if trainer.is_global_zero and pl_module.num_images_seen == 0:
            images: Tensor = trainer.datamodule.images  # type: ignore[attr-defined]
            reals = images[: pl_module.settings.num_sample_grid].permute(0, 2, 3, 1)
            self._write(REALS, list(reals.numpy()))
            self._draw(pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
        assert isinstance(pl_module, StyleGAN2Task)
        is_last = trainer.global_step == trainer.max_steps
        if trainer.is_global_zero and (is_last or trainer.global_step % snapshot_steps(pl_module.settings) == 0):
            self._draw(pl_module)
            folder = self.folder / SNAPSHOTS / snapshot_name(pl_module.num_images_seen)
            weights.save(folder, {weights.GENERATOR_EMA: pl_module.generator_ema}, pl_module.settings)

    def _draw(self, task: StyleGAN2Task) -> None:
        images = [generate(task.generator_ema, seed) for seed in range(task.settings.num_sample_grid)]
        self._write(f"{snapshot_name(task.num_images_seen)}.png", images)

    def _write(self, name: str, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        path = self.folder / GRIDS / name
        _write_grid(path, images)
        if self.on_grid is not None:
            self.on_grid(path)


def find_snapshots(folder: Path, settings: GanSettings) -> dict[float, Path]:
    """The snapshots of the training in `folder`, by thousands of images seen.

    Raises:
        RequestError: there is none, or one is of other images than `settings`.
    """
    folders = {
        float(match[1]): path
        for path in sorted((folder / SNAPSHOTS).glob("kimg*"))
        if (match := _SNAPSHOT_NAME.fullmatch(path.name)) and (path / weights.SETTINGS_FILE).is_file()
    }
    if not folders:
        raise RequestError(f"{folder} holds no {SNAPSHOTS}/kimg*; training a GAN leaves them (gan.snapshot_kimg)")
    for path in folders.values():
        snapshot = weights.read_settings(path)
        for name in ("resolution", "image_channels", "fit"):
            if (value := getattr(snapshot, name)) != (expected := getattr(settings, name)):
                raise RequestError(f"{path} has {name} {value}, its GAN {expected}; remove the snapshot")
    return folders


def _write_grid(path: Path, images: Sequence[npt.NDArray[np.uint8]]) -> None:
    # PNG grids have one channel or three; further channels are left out
    num_shown = 1 if images[0].shape[2] < 3 else 3
    write_image(path, sample_grid([image[:, :, :num_shown] for image in images]))
