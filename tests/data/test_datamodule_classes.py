"""Batches of a multi-class task."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.core import images
from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ConfigError, DatasetError
from segkit.core.manifest import Manifest, Row, Source
from segkit.data import labels
from segkit.data.datamodule import SegmentationDataModule, read_labelled_image
from segkit.data.settings import GeometrySettings, TrainingDataSettings
from tests.reference import data_geometry

CLASSES = Classes(kind="multiclass", names=("background", "vessel", "disc"), ignored=255)
HEIGHT, WIDTH, STRIDE = 26, 21, 8
PAD, HALF = GeometrySettings(), GeometrySettings(mode="resize", size=16)


def inside(padded: np.ndarray) -> np.ndarray:
    """The part of a padded array (..., 32, 24) that is image: 3 rows above, 1 column left."""
    return padded[..., 3 : 3 + HEIGHT, 1 : 1 + WIDTH]


def real_row(folder: Path, number: int, split: str = "train") -> Row:
    """A random image with a class map whose right edge is ignored, and a region that leaves out two rows."""
    rng = np.random.default_rng(number)
    name, size = f"real-{number}", (HEIGHT, WIDTH)
    indices = np.kron(rng.integers(0, 3, (9, 7)), np.ones((3, 3)))[:HEIGHT, :WIDTH].astype(np.uint8)
    indices[:, -2:] = 255
    images.write_image(folder / f"{name}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    images.write_indices(folder / f"{name}-labels.png", indices, CLASSES.palette)
    region = np.ones(size, bool)
    region[:2] = False
    images.write_mask(folder / f"{name}-region.png", region)
    image, reference, mask = (Source(folder / f"{name}{end}.png") for end in ("", "-labels", "-region"))
    return Row(name, split, image, {"reference": reference}, mask)  # type: ignore[arg-type]


def synthetic_row(folder: Path, number: int) -> Row:
    """A random image with random class probabilities."""
    rng = np.random.default_rng(100 + number)
    name = f"synthetic-{number}"
    images.write_image(folder / f"{name}.png", rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    images.write_mask(folder / f"{name}-region.png", np.ones((HEIGHT, WIDTH), bool))
    path = labels.probs_path(folder / "pseudo", name, CLASSES)
    labels.write_probs(path, rng.dirichlet(np.ones(3), (HEIGHT, WIDTH)).transpose(2, 0, 1).astype(np.float32))
    region = Source(folder / f"{name}-region.png")
    return Row(name, "train", Source(folder / f"{name}.png"), {"pseudo": Source(path)}, region, "synthetic")


def reads(row: Row, geometry: GeometrySettings = PAD, **settings: object):  # type: ignore[no-untyped-def]
    return read_labelled_image(row, geometry, STRIDE, TrainingDataSettings.model_validate(settings), CLASSES)


def test_the_target_holds_one_map_per_class_and_ignored_pixels_leave_the_region(tmp_path: Path) -> None:
    row = real_row(tmp_path, 0)
    picture = reads(row)
    assert row.reference is not None
    indices = images.read_indices(*row.reference)
    assert picture.target.shape == (3, 32, 24)
    for index in range(3):
        np.testing.assert_array_equal(inside(picture.target)[index], indices == index)
    region = inside(picture.region)
    assert not region[:, -2:].any()
    assert not region[:2].any()
    assert region[2:, :-2].all()
    assert picture.region.sum() == region.sum()  # padding is outside
    assert (picture.target.sum(axis=0)[picture.region] == 1).all()


def test_a_resized_target_holds_the_class_that_covers_most_of_each_pixel(tmp_path: Path) -> None:
    row = real_row(tmp_path, 1)
    picture = reads(row, HALF)
    assert row.reference is not None
    indices = images.read_indices(*row.reference)
    area = np.stack([data_geometry.area_resize((indices == index).astype(float), 16, 16) for index in range(3)])
    first, second = np.sort(area, axis=0)[[-1, -2]]
    decided = (first - second > 1e-3) & picture.region
    np.testing.assert_array_equal(picture.target.argmax(axis=0)[decided], area.argmax(axis=0)[decided])
    assert decided.sum() > 100
    assert set(np.unique(picture.target)) == {0, 1}
    assert (picture.target.sum(axis=0)[picture.region] == 1).all()
    assert not picture.region[:, -1].any()


def test_pseudo_labels_of_several_classes_are_soft_hard_or_weighted_by_their_margin(tmp_path: Path) -> None:
    row = synthetic_row(tmp_path, 0)
    assert row.target is not None
    probs = labels.read_probs(row.target.path, CLASSES)
    soft, hard, confidence = (reads(row, pseudo_labels=kind) for kind in ("soft", "hard", "confidence"))
    np.testing.assert_array_equal(inside(soft.target), probs)
    assert soft.confidence is None
    most_probable = probs == probs.max(axis=0)
    for picture in (hard, confidence):
        np.testing.assert_array_equal(inside(picture.target), most_probable)
    assert hard.confidence is None
    second, first = np.sort(probs, axis=0)[1:]
    np.testing.assert_allclose(inside(confidence.confidence), first - second, atol=1e-6)


def test_soft_pseudo_labels_are_resized_class_by_class(tmp_path: Path) -> None:
    row = synthetic_row(tmp_path, 1)
    assert row.target is not None
    probs = labels.read_probs(row.target.path, CLASSES)
    soft = reads(row, HALF, pseudo_labels="soft").target
    for index in range(3):
        np.testing.assert_allclose(soft[index], data_geometry.area_resize(probs[index], 16, 16), atol=1e-5)
    np.testing.assert_allclose(soft.sum(axis=0), 1, atol=1e-4)


@pytest.fixture
def real(tmp_path: Path) -> Manifest:
    splits = ["train"] * 4 + ["val"] * 2
    return Manifest(tuple(real_row(tmp_path, number, split) for number, split in enumerate(splits)), CLASSES)


@pytest.fixture
def synthetic(tmp_path: Path) -> Manifest:
    return Manifest(tuple(synthetic_row(tmp_path, number) for number in range(4)), CLASSES)


@pytest.mark.parametrize("augmentation", ["none", "paper", "strong"])
@pytest.mark.parametrize("crop_size", [None, 16])
def test_batches_have_a_channel_per_class(
    real: Manifest, synthetic: Manifest, augmentation: str, crop_size: int | None
) -> None:
    settings = {"data": "mixed", "batch_size": 4, "augmentation": augmentation, "pseudo_labels": "confidence"}
    settings = TrainingDataSettings.model_validate(settings | {"crop_size": crop_size})
    made = SegmentationDataModule(real, synthetic, settings, PAD, STRIDE, seed=0)
    made.setup("fit")
    size = (32, 24) if crop_size is None else (16, 16)
    for batch in made.train_dataloader():
        assert batch["image"].shape == (4, 3, *size)
        assert batch["target"].shape == (4, 3, *size)
        assert batch["region"].shape == batch["pixel_weight"].shape == (4, 1, *size)
        assert batch["target"].dtype == torch.float32
        assert (batch["pixel_weight"][~batch["region"]] == 0).all()
        one_hot = batch["target"].sum(1, keepdim=True)
        assert (one_hot[batch["region"]] == 1).all()
    for batch in made.val_dataloader():
        assert batch["target"].shape == (1, 3, 32, 24)


def test_a_class_map_of_another_size_than_its_image_is_named(tmp_path: Path) -> None:
    row = real_row(tmp_path, 0)
    assert row.reference is not None
    images.write_indices(row.reference.path, np.zeros((10, 12), np.uint8), CLASSES.palette)
    with pytest.raises(DatasetError, match=r"real-0-labels\.png is 10x12"):
        reads(row)


def test_pseudo_labels_of_other_classes_are_refused(real: Manifest, synthetic: Manifest) -> None:
    other = Manifest(synthetic.rows, VESSEL)
    with pytest.raises(ConfigError, match="pseudo-labels"):
        SegmentationDataModule(real, other, TrainingDataSettings(data="mixed"), PAD, STRIDE, seed=0)
