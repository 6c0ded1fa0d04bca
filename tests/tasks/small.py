"""A tiny network trained on phantoms; also a command of its own, for training on several CPU processes by `ddp`."""

import json
import sys
from pathlib import Path

import lightning as L
import numpy as np
import torch

from segkit.core import images
from segkit.core.classes import VESSEL
from segkit.core.manifest import Manifest, Row, Source, read_manifest, write_manifest
from segkit.core.missing import predict_missing
from segkit.data import phantom
from segkit.data.datamodule import SegmentationDataModule
from segkit.tasks.callbacks import BestWeights, Curves, last_checkpoint
from segkit.tasks.ensemble import EnsembleTask
from segkit.tasks.prediction_files import ImageLoader, MapWriter
from segkit.tasks.segmentation import SegmentationTask
from segkit.tasks.settings import InferenceSettings, PhaseSettings, RuntimeSettings, TrainSettings
from segkit.tasks.trainer import build_trainer
from segkit.tasks.weights import load_predictor

FP32 = RuntimeSettings(accelerator="cpu", precision="32-true", tracker="none")


def draw(folder, splits, height=60, width=52, grain=0, several=False):
    """A manifest of phantoms in `folder`, one for each split named; `grain` levels of noise also where it is dark.

    `several`: of three classes.
    """
    rows = []
    for number, split in enumerate(splits):
        drawn = phantom.draw(number, height, width)
        paths = {kind: folder / f"{number}-{kind}.png" for kind in ("image", "labels", "region")}
        noise = np.random.default_rng(number).integers(0, grain + 1, drawn.image.shape)
        images.write_image(paths["image"], np.minimum(drawn.image + noise, 255).astype(np.uint8))
        if several:
            images.write_indices(paths["labels"], drawn.labels, phantom.CLASSES.palette)
        else:
            images.write_mask(paths["labels"], drawn.vessels)
        images.write_mask(paths["region"], drawn.fov)
        image, labels, region = (Source(path) for path in paths.values())
        rows.append(Row(f"{number}", split, image, {"reference": labels}, region))
    write_manifest(rows, folder, phantom.CLASSES if several else VESSEL)
    return read_manifest(folder)


def settings(model=None, monitor="val/dice", loss="bce-dice", **phase):
    """Training settings with one small phase."""
    values = {"epochs": 2, "batch_size": 2, "augmentation": "none", "optimizer": {"learning_rate": 0.01}} | phase
    network = {"widths": (4, 8), "drop_prob": 0.0, "norm": "group", "attention_size": 3} | (model or {})
    network = {key: value for key, value in network.items() if value is not None}
    return TrainSettings.model_validate({"model": network, "monitor": monitor, "loss": loss, "phases": [values]})


class PlainDescent(SegmentationTask):
    """Descends by the gradient itself. Adam divides by its size and makes steps even of what is only rounding."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), lr=0.005)


class InDouble(SegmentationTask):
    """Trains in float64: Adam makes whole steps of gradients that are only rounding, so that float32 hides errors."""

    def __init__(self, *args):
        super().__init__(*args)
        self.double()

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


class Kept(L.Callback):
    """Notes what training would otherwise forget: learning rates, losses and weights, step by step."""

    def __init__(self):
        self.rates, self.losses, self.weights, self.val = [], [], [], []

    def on_train_batch_start(self, trainer, task, *_):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, task, outputs, *_):
        self.losses.append(float(outputs["loss"]))
        self.weights.append({name: value.clone() for name, value in task.model.state_dict().items()})

    def on_validation_end(self, trainer, task):
        self.val.append({key: float(value) for key, value in trainer.callback_metrics.items() if key[:4] == "val/"})


def fit(
    folder,
    manifest,
    wanted,
    *,
    runtime=FP32,
    callbacks=(),
    ckpt_path=None,
    seed=0,
    stop_after=None,
    kind=SegmentationTask,
    logger=None,
):
    """Train the first phase as a stage would; returns task, trainer, best weights and curves."""
    phase: PhaseSettings = wanted.phases[0]
    L.seed_everything(seed, verbose=False)
    task = kind(wanted, phase, seed, manifest.classes)
    best, curves = BestWeights(wanted.monitor, phase.early_stop_epochs), Curves(folder / "curves.csv")
    trainer = build_trainer(
        runtime,
        folder,
        "small",
        logger=logger,
        callbacks=[best, curves, last_checkpoint(folder / "kept"), *callbacks],
        max_epochs=phase.epochs,
        check_val_every_n_epoch=phase.val_interval_epochs,
    )
    data = SegmentationDataModule(
        manifest,
        Manifest(()),
        phase,
        wanted.geometry,
        wanted.model.stride,
        seed,
        num_workers=runtime.num_workers,
        preprocessing=wanted.preprocessing,
    )
    if stop_after is not None:
        trainer.callbacks.append(_StopAfter(stop_after))
    trainer.fit(task, datamodule=data, ckpt_path=ckpt_path)
    return task, trainer, best, curves


class _StopAfter(L.Callback):
    """Ends training after so many epochs, as a signal would: the schedule still thinks of all of them."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, task):
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


def predict(folder, model, manifest, runtime=FP32):
    """Write each row's probabilities into `folder`, by the rank whose turn it is."""
    trainer = build_trainer(runtime, folder, "small", callbacks=[MapWriter(folder)])
    task = EnsembleTask(load_predictor(model), InferenceSettings(tta="flips"))
    predict_missing(trainer, manifest.rows, lambda: task, ImageLoader)


def fit_thrice(folder, manifest, wanted, runtime=FP32):
    """Train by Adam in float64, by plain descent in float32, and with one image to validate on; what is left."""
    train, val = manifest.split("train"), manifest.split("val")
    lone = Manifest((*train.rows, *val.rows[:1]))
    runs = {"adam": (InDouble, manifest), "descent": (PlainDescent, manifest), "lone": (InDouble, lone)}
    left = {}
    for name, (kind, rows) in runs.items():
        kept = Kept()
        task, trainer, best, curves = fit(folder / name, rows, wanted, runtime=runtime, callbacks=[kept], kind=kind)
        weights = {"first": kept.weights[0], "last": task.model.state_dict(), "best": best.weights}
        left[name] = {"weights": weights, "val": kept.val, "curves": curves.rows, "rank": trainer.global_rank}
    return left


def main(data, out, devices, raw):
    """Train on `devices` CPU processes, and predict with the model that lies beside `out`."""
    out, manifest = Path(out), read_manifest(Path(data))
    runtime = FP32.model_copy(update={"devices": int(devices), "strategy": "ddp"})
    wanted = TrainSettings.model_validate(json.loads(raw))
    left = fit_thrice(out, manifest, wanted, runtime)
    torch.save(left, out / f"rank{left['adam']['rank']}.pt")
    predict(out / "predictions", out.parent / "model", manifest, runtime)


if __name__ == "__main__":
    main(*sys.argv[1:])
