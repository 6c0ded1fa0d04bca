"""Train a tiny GAN; also a command of its own, for training on several CPU processes with Lightning's `ddp`."""

import json
import sys
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from gan.data import GanImages
from gan.settings import GanSettings, max_steps
from gan.task import StyleGAN2Task


def images(settings, count=6):
    rng = torch.Generator().manual_seed(0)
    shape = (count, settings.image_channels, settings.resolution, settings.resolution)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(shape, generator=rng), 5, stride=1, padding=2)
    return (smooth * 255).to(torch.uint8)


def fit(settings, folder, callbacks=(), ckpt_path=None, steps=None, **trainer):
    """Train in this process (and those Lightning starts); returns the task and its trainer."""
    task = StyleGAN2Task(settings, seed=3)
    trainer = L.Trainer(
        max_steps=steps or max_steps(settings),
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **trainer,
    )
    trainer.fit(task, GanImages(images(settings), settings, seed=3), ckpt_path=ckpt_path)
    return task, trainer


def main(raw, folder, devices):
    torch.set_num_threads(1)
    settings = GanSettings.model_validate(json.loads(raw))
    task, trainer = fit(settings, folder, devices=int(devices), strategy="ddp")
    seen = {"p": task.augment_pipe.chance, "images": task.num_images_seen}
    torch.save(task.state_dict() | seen, Path(folder) / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
