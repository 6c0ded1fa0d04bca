"""Label maps and probabilities on disk, binary and of several classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ImageError
from segkit.core.manifest import Source
from segkit.data import labels

THREE = Classes(kind="multiclass", names=("background", "vessel", "disc"), ignored=255)
SIZE = (7, 9)


def random_probs(num_channels: int) -> np.ndarray:
    return np.random.default_rng(0).random((num_channels, *SIZE), dtype=np.float32)


@pytest.mark.parametrize(("classes", "suffix"), [(VESSEL, ".png"), (THREE, ".tif")])
def test_probabilities_are_read_as_they_were_written_to_16_bits(tmp_path: Path, classes: Classes, suffix: str) -> None:
    probs = random_probs(classes.num_channels)
    path = labels.probs_path(tmp_path, "left/07", classes)
    assert path == tmp_path / "left" / f"07{suffix}"
    labels.write_probs(path, probs)
    again = labels.read_probs(path, classes)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, probs, atol=0.5 / 65535 + 1e-7)
    levels = labels.read_levels(path, classes)
    np.testing.assert_array_equal(levels, np.rint(probs.astype(np.float64) * 65535).reshape(levels.shape))
    assert levels.shape == (SIZE if classes is VESSEL else (3, *SIZE))


def test_the_pages_of_probabilities_are_the_classes_in_their_order_for_any_reader(tmp_path: Path) -> None:
    probs = np.zeros((3, *SIZE), np.float32)
    probs[2] = 1
    labels.write_probs(tmp_path / "1.tif", probs)
    with Image.open(tmp_path / "1.tif") as picture:
        assert picture.n_frames == 3
        for page, level in enumerate((0, 0, 65535)):
            picture.seek(page)
            assert picture.size == (SIZE[1], SIZE[0])
            assert set(np.unique(np.asarray(picture).astype(int))) == {level}


def test_probabilities_with_too_few_pages_are_refused(tmp_path: Path) -> None:
    labels.write_probs(tmp_path / "1.tif", random_probs(2))
    with pytest.raises(ImageError, match=r"1\.tif"):
        labels.read_levels(tmp_path / "1.tif", THREE)


def test_class_indices_are_read_from_palette_and_gray_files(tmp_path: Path) -> None:
    indices = np.random.default_rng(1).integers(0, 3, SIZE).astype(np.uint8)
    indices[0, 0] = 255
    labels.write_labels(tmp_path / "palette.png", indices, THREE)
    Image.fromarray(indices).save(tmp_path / "gray.png")
    for name in ("palette.png", "gray.png"):
        np.testing.assert_array_equal(labels.read_labels(Source(tmp_path / name), THREE), indices)


def test_a_label_map_shows_each_class_in_its_colour(tmp_path: Path) -> None:
    classes = Classes(kind="multiclass", names=("a", "b"), colors=((1, 2, 3), (250, 0, 9)))
    labels.write_labels(tmp_path / "1.png", np.array([[0, 1]], np.uint8), classes)
    with Image.open(tmp_path / "1.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), [[[1, 2, 3], [250, 0, 9]]])


def test_a_binary_map_is_white_on_black(tmp_path: Path) -> None:
    mask = np.random.default_rng(2).random(SIZE) < 0.3
    labels.write_labels(tmp_path / "1.png", mask, VESSEL)
    np.testing.assert_array_equal(labels.read_labels(Source(tmp_path / "1.png"), VESSEL), mask)
    with Image.open(tmp_path / "1.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.where(mask, 255, 0))


def test_a_page_of_a_file_is_read_by_its_number(tmp_path: Path) -> None:
    pages = np.stack([np.full(SIZE, level, np.uint8) for level in (0, 2, 1)])
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(labels.read_labels(Source(tmp_path / "stack.tif", number), THREE), page)
    with pytest.raises(ImageError, match="page 3"):
        labels.read_labels(Source(tmp_path / "stack.tif", 3), THREE)


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_a_picture_that_cannot_hold_class_indices_is_refused(tmp_path: Path, mode: str) -> None:
    values = np.zeros((*SIZE, 3), np.uint8) if mode == "RGB" else np.zeros(SIZE, np.uint16)
    Image.fromarray(values).save(tmp_path / "1.png")
    with pytest.raises(ImageError, match="class indices"):
        labels.read_labels(Source(tmp_path / "1.png"), THREE)


def test_a_prediction_is_cut_at_the_threshold_or_is_the_most_probable_class() -> None:
    probs = np.array([[[0.2, 0.4, 0.6]]], np.float32)
    np.testing.assert_array_equal(labels.labels_from_probs(probs, VESSEL, 0.4), [[False, True, True]])
    three = np.array([[0.2, 0.5], [0.3, 0.4], [0.5, 0.1]], np.float32)[:, None]
    np.testing.assert_array_equal(labels.labels_from_probs(three, THREE, 0.4), [[2, 0]])


def test_ignored_pixels_do_not_count_and_belong_to_no_class() -> None:
    indices = np.array([[0, 1, 255, 2]], np.uint8)
    np.testing.assert_array_equal(labels.valid_pixels(indices, THREE), [[True, True, False, True]])
    np.testing.assert_array_equal(labels.target_maps(indices, THREE)[:, 0], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    mask = np.array([[True, False]])
    assert labels.valid_pixels(mask, VESSEL).all()
    np.testing.assert_array_equal(labels.target_maps(mask, VESSEL), [[[1, 0]]])
