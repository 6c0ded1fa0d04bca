"""Errors of published code that this kit must not have, one test each."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from segkit.core.classes import Classes
from segkit.data import histology, phantom, transforms
from segkit.data.geometry import Geometry
from segkit.data.splits import cut, fold
from segkit.metrics.epoch import SegmentationMetrics
from tests.tasks.small import Kept, fit, settings

CLASSES = Classes(kind="multiclass", names=("background", "vessel", "disc"))


@pytest.mark.parametrize("num_batches", [1, 2, 5])
def test_mean_iou_is_not_divided_by_one_batch_too_many(num_batches):
    """DeepLabV3 article: the sum of batch values was divided by a counter that starts at 1."""
    rng = np.random.default_rng(num_batches)
    truth = rng.integers(3, size=(num_batches, 2, 12, 10))
    probs = (
        rng.dirichlet(np.ones(3), size=truth.shape) * 0.5
        + 0.5 * np.eye(3)[(truth + (rng.random(truth.shape) < 0.3)) % 3]
    )
    metrics = SegmentationMetrics(CLASSES)
    for batch in range(num_batches):
        target = torch.from_numpy(np.eye(3)[truth[batch]].transpose(0, 3, 1, 2)).float()
        predicted = torch.from_numpy(probs[batch].transpose(0, 3, 1, 2)).float()
        metrics.update(predicted, target, torch.ones(2, 1, 12, 10, dtype=torch.bool))
    expected = jaccard_score(truth.ravel(), probs.argmax(-1).ravel(), average="macro")
    assert float(metrics.compute()["mean_iou"]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("preset", ["rotations", "strong"])
def test_rotated_masks_hold_no_grey_as_bicubic_ones_do(preset):
    """Slides on patch-based U-Nets: masks were rotated by bicubic interpolation."""
    sample = phantom.draw(1, 96, 92)
    target, transform = sample.vessels[None].astype(np.float32), transforms.build(preset)
    moved = [transform(sample.image, target, sample.fov, seed=seed).target for seed in range(4)]
    assert any(not np.array_equal(result, target) for result in moved)
    assert all(set(np.unique(result)) <= {0.0, 1.0} for result in moved)


def test_a_resize_loses_no_vessel_pixels():
    """GAN report: labels were resized by bicubic interpolation and only exact 255s kept, 61 % of the vessels."""
    vessels = phantom.draw(2, 512, 512).vessels
    resized = Geometry.resize(512, 512, 584, 565).label(vessels)
    assert resized.dtype == np.bool_
    assert resized.mean() == pytest.approx(vessels.mean(), rel=0.04)


def test_the_scheduler_is_stepped(tmp_path, phantoms):
    """GAN report: a scheduler was built and never, or once an epoch instead of once a step, moved on."""
    kept, wanted = Kept(), settings(epochs=3, schedule={"name": "cosine", "warmup_epochs": 1})
    fit(tmp_path, phantoms, wanted, callbacks=[kept])
    cosine = [0.01 * (1 + np.cos(np.pi * progress)) / 2 for progress in (0, 0.25, 0.5, 0.75)]
    assert kept.rates == pytest.approx([0, 0.005, *cosine])


def test_fine_tuning_reaches_its_learning_rate_and_does_not_stay_at_the_first_of_the_warm_up(tmp_path, phantoms):
    """GAN report: the warm-up's first factor, 1e-3 of 1e-3, was the learning rate of all fine-tuning."""
    rate = {"learning_rate": 1e-3}
    wanted = settings(epochs=2, optimizer=rate, schedule={"name": "constant", "warmup_epochs": 1})
    finetuning = wanted.phases[0].model_copy(update={"init_from": "previous"})
    kept = Kept()
    fit(tmp_path, phantoms, wanted.model_copy(update={"phases": (finetuning,)}), callbacks=[kept])
    assert kept.rates[2:] == pytest.approx([1e-3, 1e-3])


def test_patches_of_one_slide_never_leak_into_another_split():
    """Adversarial segmenter of slides: shuffled patches were split, so that test patches had neighbours in training."""
    names = [f"W{slide:02d}_{patch:04d}" for slide in range(8) for patch in range(5)]
    slides = {name: histology.slide(name) for name in names}
    assert len(set(slides.values())) == 8
    for seed in range(3):
        for splits in (cut(slides, 10, 10, seed), *(fold(slides, 4, number, seed=seed) for number in range(4))):
            parts = {slide: {splits[name] for name in names if slides[name] == slide} for slide in set(slides.values())}
            assert all(len(part) == 1 for part in parts.values())
            assert len(set(splits.values())) > 1
