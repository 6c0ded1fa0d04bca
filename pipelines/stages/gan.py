"""`gan`: train StyleGAN2-ADA on the training images alone, so that nothing held out can reach a student."""

from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint

from gan.checkpoints import weights
from gan.settings import max_steps
from gan.training.batch_split import device_count_error
from gan.training.data import GanImages, load_images
from gan.training.snapshots import REALS, Snapshots, kimg_of
from gan.training.task import StyleGAN2Task
from pipelines.execution.worker import Context
from pipelines.stage_types import GanStageSettings
from segkit.core import images
from segkit.core.manifest import read_manifest
from segkit.core.seeding import derive_seed
from segkit.tasks.callbacks import Curves
from segkit.tasks.resuming import fit
from segkit.tasks.trainer import build_trainer


def run(context: Context[GanStageSettings]) -> None:
    """Write the networks and the curves; through training, sample grids and the averaged generator."""
    settings = context.settings
    seed = derive_seed(context.runtime.seed + settings.seed_offset, "gan") % 2**32
    rows = read_manifest(context.inputs["data"]).split("train").rows
    task = StyleGAN2Task(settings, seed)
    steps = max_steps(settings)
    log_steps = max(1, steps // 200)
    checkpoint = ModelCheckpoint(
        dirpath=context.work,
        filename="last",
        monitor=None,
        save_top_k=1,
        every_n_train_steps=max(1, round(settings.checkpoint_kimg * 1000 / settings.batch_size)),
        enable_version_counter=False,
    )

    def log_grid(path: Path) -> None:
        """Log a grid while the GAN trains."""
        if not context.tracker.share_images:
            return
        if path.name == REALS:
            context.tracker.images("gan/real-images", {"training images": images.read_image(path)})
        else:
            context.tracker.images("gan/samples", {path.stem: images.read_image(path)}, kimg=kimg_of(path))

    trainer = build_trainer(
        context.runtime,
        context.work,
        context.name,
        can_split=lambda num_devices: device_count_error(settings, num_devices) is None,
        precision="32-true",  # the settings choose low precision, resolution by resolution
        log_interval_steps=log_steps,
        logger=context.tracker.logger,
        callbacks=[Curves(context.out / "curves.csv", log_steps), Snapshots(context.out, log_grid), checkpoint],
        # shapes hardly vary, so that cuDNN's search for the fastest kernels pays
        benchmark=None if context.runtime.deterministic else True,
        max_steps=steps,
        max_epochs=-1,
    )
    data = GanImages(load_images([row.image.path for row in rows], settings), settings, seed)
    fit(trainer, task, data, context.work / "last.ckpt")
    if context.first_rank:
        weights.save(context.out, task.networks, settings)
    trainer.strategy.barrier()
