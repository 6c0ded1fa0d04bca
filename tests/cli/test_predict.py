"""`segkit predict` on one's own images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.core import images
from segkit.tasks.weights import read_card
from tests.pipelines.tiny import files_below, segkit_here

pytestmark = pytest.mark.slow


@pytest.fixture
def teacher(finished_runs: Path) -> Path:
    return next(finished_runs.glob("teacher-*"))


@pytest.fixture
def photo(finished_runs: Path) -> Path:
    return next(finished_runs.glob("data-*")) / "images" / "01_test.tif"


def predict(weights: Path, out: Path, *args: str | Path) -> int:
    return segkit_here("predict", "--weights", str(weights), "--out", str(out), *map(str, args))


def test_a_folder_of_images_gives_probabilities_and_vessels_at_their_own_size(
    teacher: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    mine.mkdir()
    whole = images.read_image(photo)
    images.write_image(mine / "odd.png", whole[:47, :45])
    images.write_image(mine / "large.jpg", np.tile(whole, (2, 3, 1)))
    (mine / "notes.txt").write_text("no picture")
    assert predict(teacher, out, mine) == 0
    maps = {f"{kind}/{name}.png" for kind in ("probs", "binary") for name in ("odd", "large")}
    assert files_below(out) == {*maps, "predictions.json"}
    for name, size in (("odd", (47, 45)), ("large", (96, 156))):
        with Image.open(out / "probs" / f"{name}.png") as picture:
            assert picture.mode == "I;16"
        probs, vessels = (
            images.read_probs(out / "probs" / f"{name}.png"),
            images.read_mask(out / "binary" / f"{name}.png"),
        )
        assert probs.shape == vessels.shape == size
        np.testing.assert_array_equal(vessels, probs >= np.float32(read_card(teacher).threshold))
    threshold = f"{read_card(teacher).threshold:.3f}"
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"2 images: probabilities in {out / 'probs'}, "
        f"vessels (threshold {threshold}, val-best-dice) in {out / 'binary'}"
    )


def test_one_image_is_predicted_as_the_pipeline_predicted_it(
    finished_runs: Path, teacher: Path, photo: Path, tmp_path: Path
) -> None:
    assert predict(teacher, tmp_path, photo) == 0
    theirs = next(finished_runs.glob("evaluate-*")) / "predictions" / "teacher" / "probs" / "01_test.png"
    ours, expected = images.read_probs(tmp_path / "probs" / "01_test.png"), images.read_probs(theirs)
    inside = (ours > 0) & (expected > 0)  # here the field of view is estimated, there it came with the data
    assert inside.sum() > 0.9 * (expected > 0).sum()
    np.testing.assert_allclose(ours[inside], expected[inside], atol=2e-5)


def test_gray_and_16_bit_images_are_taken_and_colour_ones_of_the_same_content_are_the_same(
    teacher: Path, photo: Path, tmp_path: Path
) -> None:
    gray = images.read_image(photo)[:, :, 1]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.repeat(gray[:, :, None], 3, axis=2)).save(tmp_path / "colour.png")
    assert predict(teacher, tmp_path / "out", tmp_path) == 0
    found = [images.read_levels(tmp_path / "out" / "probs" / f"{name}.png") for name in ("gray", "deep", "colour")]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


def test_a_mirrored_image_gives_the_mirrored_map_under_augmentation(teacher: Path, photo: Path, tmp_path: Path) -> None:
    images.write_image(tmp_path / "there.png", images.read_image(photo)[:48, :48])
    images.write_image(tmp_path / "back.png", images.read_image(photo)[:48, :48][:, ::-1])
    for tta, exact in (("none", False), ("flips", True)):
        out = tmp_path / tta
        assert predict(teacher, out, tmp_path / "there.png", tmp_path / "back.png", "--tta", tta) == 0
        one, two = images.read_probs(out / "probs/there.png"), images.read_probs(out / "probs/back.png")[:, ::-1]
        # padding below and to the right does not mirror; here there is none
        assert bool(np.abs(one - two).max() < 1e-4) is exact


def test_tiles_give_nearly_what_the_whole_image_gives(teacher: Path, photo: Path, tmp_path: Path) -> None:
    images.write_image(tmp_path / "large.png", np.tile(images.read_image(photo), (3, 3, 1)))
    assert predict(teacher, tmp_path / "whole", tmp_path / "large.png") == 0
    assert predict(teacher, tmp_path / "tiled", tmp_path / "large.png", "--tile", "96") == 0
    whole, tiled = (images.read_probs(tmp_path / kind / "probs" / "large.png") for kind in ("whole", "tiled"))
    assert whole.shape == tiled.shape
    assert np.abs(whole - tiled).mean() < 0.01
    assert not np.array_equal(whole, tiled)


@pytest.mark.parametrize(("threshold", "share"), [("0", 1.0), ("1", 0.0)])
def test_the_threshold_can_be_given(teacher: Path, photo: Path, tmp_path: Path, threshold: str, share: float) -> None:
    assert predict(teacher, tmp_path, photo, "--threshold", threshold) == 0
    assert images.read_mask(tmp_path / "binary/01_test.png").mean() == share


def test_an_ensemble_predicts_too(finished_runs: Path, photo: Path, tmp_path: Path) -> None:
    assert predict(next(finished_runs.glob("ensemble-*")), tmp_path, photo) == 0
    assert images.read_size(tmp_path / "probs" / "01_test.png") == (48, 52)


def test_a_model_s_folder_can_be_carried_off_without_its_pipeline(teacher: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "carried").mkdir()
    for name in ("model.json", "model.safetensors"):
        shutil.copy(teacher / name, tmp_path / "carried")
    assert predict(tmp_path / "carried", tmp_path / "out", photo) == 0


def bad_requests(photo: Path, tmp_path: Path) -> list[tuple[list[str | Path], str]]:
    (tmp_path / "empty").mkdir()
    (tmp_path / "above" / "below").mkdir(parents=True)
    for path in (tmp_path / "01_test.png", tmp_path / "above" / "below" / "a.png"):
        path.write_text("never opened")
    shutil.copy(photo, tmp_path / "01_test.tif")
    return [
        ([tmp_path / "nowhere"], "nowhere does not exist; give images or folders of images"),
        ([tmp_path / "empty"], "empty holds no image (.bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp)"),
        ([photo, tmp_path / "01_test.tif"], "01_test.tif have the same name and their results would overwrite"),
        ([tmp_path], "the same name"),
        ([tmp_path / "above"], "holds no image; its sub-folders do, add --recursive"),
        ([], "give images and folders, or --data NAME:DIR, and not both"),
        ([photo, "--tile", "10"], "tile = 10: input should be greater than or equal to 64"),
        ([photo, "--devices", "two"], "devices"),
        ([photo, "--tta", "all"], "Invalid value for '--tta': 'all' is not one of 'none', 'flips', 'd4'"),
    ]


def test_what_cannot_be_predicted_is_told_in_a_line_or_two(
    teacher: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, words in bad_requests(photo, tmp_path):
        capsys.readouterr()
        assert predict(teacher, tmp_path / "out", *args) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.startswith("error: ")
        assert 1 <= err.count("\n") <= 2
    assert predict(tmp_path, tmp_path / "out", photo) == 2
    assert "holds no model (model.json); give a folder such as a teacher's" in capsys.readouterr().err
