"""Train tiny GANs; also a command of its own, for training on several CPU processes with Lightning's `ddp`.

    python -m tests.gan.train_together FOLDER DEVICES JOBS

JOBS is JSON: a list of objects with `name`, `settings` and perhaps `steps`, `keep_every` (checkpoints) and `ckpt_path`.
Starting processes takes longer than training, so that one command carries out all of them.
"""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from gan.networks.noise import noise_of_images
from gan.settings import GanSettings, max_steps
from gan.training.data import GanImages
from gan.training.snapshots import Snapshots
from gan.training.task import StyleGAN2Task

SEED = 3


def tiny(**changes):
    """Settings of a GAN that takes some milliseconds per iteration; both regularisations happen every few of them."""
    values = {
        "resolution": 16,
        "batch_size": 4,
        "channel_base": 128,
        "channel_max": 8,
        "z_dim": 8,
        "w_dim": 8,
        "num_mapping_layers": 2,
        "kimg": 0.032,
        "pl_interval": 2,
        "r1_interval": 3,
        "augment_p": 0.3,
        "ada_ramp_kimg": 0.1,
        "snapshot_kimg": 0.016,
        "num_sample_grid": 2,
    }
    return GanSettings(**(values | changes))


def images(settings, count=6):
    """Smooth noise."""
    rng = torch.Generator().manual_seed(0)
    shape = (count, settings.image_channels, settings.resolution, settings.resolution)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(shape, generator=rng), 5, stride=1, padding=2)
    return (smooth * 255).to(torch.uint8)


class Recording(StyleGAN2Task):
    """Remembers what this process was shown and drew, and what its discriminator said of its photographs."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = defaultdict(list)

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        self.seen["batch"].append(batch)
        self.seen["p"].append(torch.tensor(self.augment_pipe.chance))

    def _latents(self, draws, num_images):
        z, z_mixed, cutoff = super()._latents(draws, num_images)
        self.seen["z"].append(torch.cat([z, z_mixed]))
        return z, z_mixed, cutoff

    def _synthesise(self, ws, noise_seeds):
        self.seen["noise"].append(noise_of_images(self.generator.synthesis, noise_seeds, ws.device))
        return super()._synthesise(ws, noise_seeds)

    def _logits(self, images_pm1, augmentation):
        self.seen["augmentation"].append(augmentation.apply)
        return super()._logits(images_pm1, augmentation)

    def _discriminator_main(self, real_pm1, draws):
        stats = super()._discriminator_main(real_pm1, draws)
        self.seen["sign"].append(stats["sign_real"].clone())
        return stats


def fit(settings, folder, callbacks=(), ckpt_path=None, steps=None, task=None, **trainer):
    """Train in this process (and those Lightning starts); returns the task and its trainer."""
    task = task or StyleGAN2Task(settings, seed=SEED)
    trainer = L.Trainer(
        max_steps=steps or max_steps(settings),
        max_epochs=-1,
        logger=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **({"accelerator": "cpu"} | trainer),
    )
    trainer.fit(task, GanImages(images(settings), settings, seed=SEED), ckpt_path=ckpt_path)
    return task, trainer


def keep(folder, every=1):
    """Checkpoints `step=N.ckpt` in a folder, all of them."""
    return ModelCheckpoint(folder, filename="{step}", every_n_train_steps=every, save_top_k=-1)


def resumable(path):
    """What of a checkpoint decides how training goes on, by name; tensors and numbers."""
    checkpoint = torch.load(path, weights_only=True)
    kept = {name: checkpoint[name] for name in ("state_dict", "optimizer_states", "gan", "global_step")}
    return dict(_leaves("", kept))


def _leaves(name, value):
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(f"{name}/{key}", item)
    else:
        yield name, value


def differing(one, two):
    """Names of what is not exactly the same in two of `resumable` or two state dictionaries."""
    assert one.keys() == two.keys()
    equal = {key: torch.equal(one[key], two[key]) if torch.is_tensor(one[key]) else one[key] == two[key] for key in one}
    return [key for key, same in equal.items() if not same]


def distance(one, two):
    """Greatest difference between the tensors of two state dictionaries."""
    return max((value.double() - two[key].double()).abs().max().item() for key, value in one.items())


def main(folder, devices, jobs):
    torch.set_num_threads(1)
    folder = Path(folder)
    for job in json.loads(jobs):
        settings = GanSettings.model_validate(job["settings"])
        own = folder / job["name"]
        callbacks = [Snapshots(own / f"files{os.environ.get('LOCAL_RANK', '0')}")]
        if "keep_every" in job:
            callbacks.append(keep(own, job["keep_every"]))
        task, trainer = fit(
            settings,
            own,
            callbacks,
            job.get("ckpt_path"),
            job.get("steps"),
            Recording(settings, SEED),
            devices=int(devices),
            strategy="ddp",
        )
        about = {"state": task.state_dict(), "images": task.num_images_seen, "seen": dict(task.seen)}
        torch.save(about, own / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
