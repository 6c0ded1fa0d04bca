"""`train`: a segmentation network, phase after phase; teacher, students and controls alike."""

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch

from pipelines.execution.worker import Context
from pipelines.stages.predictions import cut_text, predict, scored
from segkit.core import images
from segkit.core.classes import Classes
from segkit.core.errors import ConfigError
from segkit.core.files import atomic_path, sha256_file
from segkit.core.manifest import Manifest, read_manifest
from segkit.core.seeding import derive_seed
from segkit.data.datamodule import SegmentationDataModule
from segkit.data.labels import labels_from_probs, probs_path, read_labels, read_probs
from segkit.metrics.measure import pooled_value
from segkit.metrics.score import ARGMAX, Cut, ImageScore, choose_cut, threshold_of
from segkit.models.normalization import behind_normalization, without_normalization
from segkit.tasks.adversarial import AdversarialSegmentationTask
from segkit.tasks.callbacks import BestWeights, Curves, last_checkpoint
from segkit.tasks.network import build_network
from segkit.tasks.pretrained import first_weights
from segkit.tasks.resuming import fit, read_weights
from segkit.tasks.scaling import diameters
from segkit.tasks.segmentation import SegmentationTask
from segkit.tasks.settings import InferenceSettings, PhaseSettings, TrainSettings
from segkit.tasks.tracking import Overlay
from segkit.tasks.trainer import build_trainer
from segkit.tasks.weights import load_predictor, save_network

Weights = dict[str, torch.Tensor]

NUM_OVERLAYS = 4
"""Validation images that W&B shows with their maps, if pictures may be shared."""


def run(context: Context[TrainSettings]) -> None:
    """Write `model.json` and `model.safetensors`, and a CSV of curves for each phase.

    For a model without weights to train only the threshold is chosen.
    """
    settings = context.settings
    if settings.keep == "best" and not read_manifest(context.inputs["data"]).split("val").labelled().rows:
        raise ConfigError("there is no labelled validation image; raise data.num_val, or set keep: last for the model")
    if not settings.model.trainable:
        classes = read_manifest(context.inputs["data"]).classes
        network = build_network(settings.model, settings.preprocessing, classes.num_channels)
        _save_with_threshold(context, network.state_dict())
        return
    weights: Weights | None = None
    for number, phase in enumerate(settings.phases):
        start = weights if phase.init_from == "previous" else None
        weights = _phase(context, number, phase, start)
    assert weights is not None
    _save_with_threshold(context, weights)


def _phase(context: Context[TrainSettings], number: int, phase: PhaseSettings, start: Weights | None) -> Weights:
    """Train one phase, or go on with it, and return its best weights."""
    settings = context.settings
    finished = context.work / f"phase-{number}.pt"
    data = _data(context, phase, context.runtime.seed + settings.seed_offset)
    if finished.exists():
        return read_weights(finished, build_network(settings.model, settings.preprocessing, data.classes.num_channels))
    seed = context.runtime.seed + settings.seed_offset
    # Student and control begin alike, so that their difference is not one of initial weights.
    L.seed_everything(derive_seed(seed, "init", number) % 2**32, verbose=False)
    kind = SegmentationTask if settings.adversarial is None else AdversarialSegmentationTask
    task = kind(settings, phase, derive_seed(seed, "phase", number), data.classes)
    if start is None and settings.init_path is not None:
        own = task.model.state_dict()
        pretrained = first_weights(settings.model, without_normalization(own), settings.init_path)
        start = behind_normalization(pretrained.weights, own)
        if context.first_rank:
            print(f"{context.name}: starts from {settings.init_path.name}: {pretrained}")
    if start is not None:
        task.load_weights(start)
    best = BestWeights(settings.monitor, phase.early_stop_epochs, settings.keep)
    curves = Curves(None if context.runtime.tracker == "none" else context.out / f"curves-{number}.csv")
    checkpoint_dir = context.work / f"phase-{number}"
    trainer = build_trainer(
        context.runtime,
        context.work,
        f"{context.name} phase {number + 1}/{len(settings.phases)}",
        precision=context.precision,
        can_split=lambda num_devices: phase.batch_size % num_devices == 0,
        logger=context.tracker.logger,
        callbacks=[best, curves, last_checkpoint(checkpoint_dir)],
        max_epochs=phase.epochs,
        check_val_every_n_epoch=min(phase.val_interval_epochs, phase.epochs),
        limit_val_batches=1.0 if data.val_rows else 0,
    )
    fit(trainer, task, data, checkpoint_dir / "last.ckpt")
    trainer.strategy.barrier()
    if context.first_rank:
        with atomic_path(finished) as temporary:
            torch.save(best.weights, temporary)
    trainer.strategy.barrier()
    return best.weights


def _data(context: Context[TrainSettings], phase: PhaseSettings, seed: int) -> SegmentationDataModule:
    settings = context.settings
    synthetic = context.inputs.get("synthetic")
    return SegmentationDataModule(
        real=read_manifest(context.inputs["data"]),
        synthetic=read_manifest(synthetic) if synthetic is not None else Manifest(()),
        settings=phase,
        geometry=settings.geometry,
        stride=settings.model.stride,
        seed=seed,
        synthetic_replaced=settings.synthetic_replaced,
        num_workers=context.runtime.num_workers,
        preprocessing=settings.preprocessing,
    )


def _save_with_threshold(context: Context[TrainSettings], weights: Weights) -> None:
    """Choose the threshold on the validation images, at their own size, and write the model's folder."""
    settings = context.settings
    folder: Path = context.work / "model"
    data = read_manifest(context.inputs["data"])
    val = data.split("val").labelled()
    if context.first_rank:
        save_network(
            folder,
            weights,
            settings.model,
            settings.geometry,
            classes=data.classes,
            preprocessing=settings.preprocessing,
        )
    probs_dir = context.work / "val"
    predict(context, folder, val, probs_dir, InferenceSettings(), classes=data.classes)
    if not context.first_rank:
        return
    scores = scored(val, probs_dir)
    cut, source = _cut(settings, scores, data.classes)
    val_dice = pooled_value(scores, "dice", cut) if scores else None
    threshold = threshold_of(cut)
    name = context.name
    path = settings.init_path
    origin = {} if path is None else {"init_from": {"file": path.name, "sha256": sha256_file(path)}}
    save_network(
        context.out,
        weights,
        settings.model,
        settings.geometry,
        threshold,
        source,
        val_dice,
        data.classes,
        settings.preprocessing,
        trained_by=name,
        images=image_digests(data),
        fov_diameters=diameters(data.split("train").rows, data.classes),
        **origin,
    )
    load_predictor(context.out)  # what was written can be read
    _log_overlays(context, val, probs_dir, threshold)
    numbers = {} if val_dice is None else {"val/best-dice": val_dice}
    context.tracker.summary({**numbers, "threshold": threshold})
    scored_as = "no validation images" if val_dice is None else f"validation Dice {val_dice:.4f} inside the region"
    print(f"{name}: {scored_as}, {cut_text(cut)}")


def _log_overlays(context: Context[TrainSettings], val: Manifest, probs_dir: Path, threshold: float) -> None:
    """Log some validation images with prediction and labels, if pictures may be shared."""
    if not context.tracker.share_images:
        return
    overlays = []
    for row in val.rows[:NUM_OVERLAYS]:
        assert row.reference is not None
        probs = read_probs(probs_path(probs_dir, row.name, val.classes), val.classes)
        maps = {
            "prediction": labels_from_probs(probs, val.classes, threshold),
            "labels": read_labels(row.reference, val.classes),
        }
        overlays.append(Overlay(row.name, images.read_image(*row.image), maps))
    context.tracker.overlays("val/overlays", overlays, val.classes)


def _cut(settings: TrainSettings, scores: Sequence[ImageScore], classes: Classes) -> tuple[Cut, str]:
    """Where the model's probabilities are cut, and the source of that choice."""
    if classes.kind == "multiclass":
        return ARGMAX, ARGMAX
    if settings.threshold is not None:
        return settings.threshold, "given"
    return choose_cut(scores) if scores else (0.5, "fixed-0.5")


def image_digests(data: Manifest) -> dict[str, list[str]]:
    """sha256 of the image files that trained and chose a model, by split: a user can later compare other images."""
    return {split: sorted(sha256_file(row.image.path) for row in data.split(split).rows) for split in ("train", "val")}
