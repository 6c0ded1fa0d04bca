"""`sample`: truncated synthetic fundi, one per seed, at the size of the photographs the GAN learnt from."""

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from gan.drawing.sampling import levels_8bit, read_generator
from gan.drawing.seed_task import draw_seeds
from gan.settings import SamplingSettings
from gan.training.data import Fit, undo_fit
from pipelines.execution.worker import Context
from pipelines.stage_types import SampleSettings
from segkit.core import images
from segkit.core.manifest import Row, Source, read_manifest, write_manifest
from segkit.data.fov import estimate_fov
from segkit.tasks.trainer import build_trainer


def run(context: Context[SampleSettings]) -> None:
    """Write `images/seed<number>.png`, their fields of view, and the manifest."""
    settings = context.settings
    gan, generator = read_generator(context.inputs["gan"])
    height, width = images.read_size(read_manifest(context.inputs["data"]).split("train").rows[0].image.path)
    seeds = range(settings.first_seed, settings.first_seed + settings.num_images)
    sampling = SamplingSettings(
        truncation_psi=settings.truncation_psi,
        truncation_cutoff=settings.truncation_cutoff,
        noise_mode=settings.noise_mode,
    )
    writer = FundusWriter(context.out, height, width, gan.fit)
    name = context.name
    trainer = build_trainer(context.runtime, context.work, name, precision="32-true", callbacks=[writer])
    draw_seeds(trainer, generator, sampling, [seed for seed in seeds if not writer.is_complete(seed)])
    if context.first_rank:
        write_manifest([writer.row(seed) for seed in seeds], context.out)
        shown = {f"seed {seed}": images.read_image(*writer.row(seed).image) for seed in seeds[:16]}
        context.tracker.images("gan/truncated-samples", shown)


class FundusWriter(BasePredictionWriter):
    """Writes each drawn image at the photographs' size, and its field of view; every rank its own."""

    def __init__(self, out: Path, height: int, width: int, fit: Fit) -> None:
        super().__init__("batch")
        self.out, self.height, self.width, self.fit = out, height, width, fit

    def row(self, seed: int) -> Row:
        """The manifest's row of a seed."""
        name = f"seed{seed:04d}"
        image, fov = self.out / "images" / f"{name}.png", self.out / "fov" / f"{name}.png"
        return Row(name, "train", Source(image), region=Source(fov), origin="synthetic")

    def is_complete(self, seed: int) -> bool:
        """Whether a seed's files are all there; the image is written last."""
        return self.row(seed).image.path.exists()

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: dict[str, Tensor],
        *_: object,
    ) -> None:
        for seed, drawn_pm1 in zip(prediction["seeds"].tolist(), prediction["images_pm1"], strict=True):
            image = undo_fit(levels_8bit(drawn_pm1), self.height, self.width, self.fit)
            row = self.row(seed)
            assert row.region is not None
            images.write_mask(row.region.path, estimate_fov(image))
            images.write_image(row.image.path, image)
