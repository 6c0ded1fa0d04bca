"""Drawing the images of seeds by `Trainer.predict`, shared over its ranks."""

from collections.abc import Sequence

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gan.drawing.sampling import draw
from gan.networks.generator import Generator
from gan.settings import SamplingSettings
from segkit.core.missing import predict_missing


class SeedTask(L.LightningModule):
    """Draws the images of seeds; a prediction writer among the Trainer's callbacks writes them."""

    def __init__(self, generator: Generator, sampling: SamplingSettings) -> None:
        super().__init__()
        self.generator, self.sampling = generator, sampling

    def predict_step(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        """Returns `seeds` (n,) and `images_pm1` (n, c, r, r), float32 in about [-1, 1]."""
        s = self.sampling
        images_pm1 = [
            draw(self.generator, seed, s.truncation_psi, s.truncation_cutoff, s.noise_mode) for seed in batch.tolist()
        ]
        return {"seeds": batch, "images_pm1": torch.stack(images_pm1)}


def seeds_loader(seeds: Sequence[int], batch_size: int = 1) -> DataLoader[Tensor]:
    """Batches of seeds for a `SeedTask`."""
    return DataLoader(torch.tensor(seeds), batch_size=batch_size)  # type: ignore[arg-type]  # a tensor is indexable


def draw_seeds(trainer: L.Trainer, generator: Generator, sampling: SamplingSettings, seeds: Sequence[int]) -> None:
    """Draw the images of seeds, each on one rank; returns when all ranks are done."""
    predict_missing(trainer, seeds, lambda: SeedTask(generator, sampling), seeds_loader)
