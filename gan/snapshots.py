"""Sample grids during training: the same seeds each time, so that progress can be seen."""

from pathlib import Path
from typing import Any

import lightning as L

from gan.sampling import generate, sample_grid
from gan.settings import snapshot_steps
from gan.task import StyleGAN2Task
from segkit.core.images import write_image


class SampleGrids(L.Callback):
    """Write `kimg<thousands of images>.png` into a folder each `snapshot_kimg`, and at the end; rank 0 only.

    Full size of W (psi 1), so that the pictures show what the network does, not only its best.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, StyleGAN2Task)
        settings = pl_module.settings
        is_last = trainer.global_step == trainer.max_steps
        if trainer.is_global_zero and (is_last or trainer.global_step % snapshot_steps(settings) == 0):
            images = [generate(pl_module.generator_ema, seed) for seed in range(settings.num_sample_grid)]
            name = f"kimg{pl_module.num_images_seen / 1000:010.3f}.png"
            write_image(self.folder / name, sample_grid(images))
