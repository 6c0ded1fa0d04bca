"""`segkit evaluate` on predictions that lie on disk."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from segkit.data.readers import open_dataset
from tests.data import chase
from tests.pipelines.tiny import segkit_here


@pytest.fixture
def predictions(phantoms: Path, tmp_path: Path) -> Path:
    """Maps of every image: the labels with a rectangle turned over."""
    folder = tmp_path / "maps"
    for item in open_dataset(f"drive:{phantoms}").items:
        assert item.vessels is not None
        vessels = images.read_mask(item.vessels)
        vessels[10:20, 10:30] ^= True
        images.write_mask(folder / f"{item.name}.png", vessels)
    return folder


def evaluate(predictions: Path, data: Path, *args: str) -> int:
    return segkit_here("evaluate", "--predictions", str(predictions), "--data", f"drive:{data}", *args)


def expected_dice(predictions: Path, data: Path, part: str) -> float:
    """Pooled Dice inside the field of view, counted here."""
    tp = fp = fn = 0
    for item in open_dataset(f"drive:{data}").items:
        if item.part == part:
            assert item.vessels is not None
            assert item.fov is not None
            fov = images.read_mask(item.fov)
            found, true = images.read_mask(predictions / f"{item.name}.png")[fov], images.read_mask(item.vessels)[fov]
            tp, fp, fn = tp + np.sum(found & true), fp + np.sum(found & ~true), fn + np.sum(~found & true)
    return float(2 * tp / (2 * tp + fp + fn))


def test_the_numbers_are_right_and_say_what_they_are(
    predictions: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep" / "scores.json"
    assert evaluate(predictions, phantoms, "--split", "test", "--json", str(path)) == 0
    dice = expected_dice(predictions, phantoms, "test")
    out = capsys.readouterr().out
    assert "class vessel | region fov | pooled | threshold fixed-0.5 | n = 2 images" in out
    assert f"{dice:.4f}" in out
    found = [
        number
        for number in json.loads(path.read_text())
        if (number["metric"], number["region"], number["averaging"]) == ("dice", "fov", "pooled")
    ]
    assert [number["value"] for number in found] == [pytest.approx(dice, abs=1e-12)]
    assert (found[0]["threshold"], found[0]["threshold_source"], found[0]["n"]) == (0.5, "fixed-0.5", 2)


def test_intervals_are_over_patients_where_the_data_set_has_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps, path = chase.write(tmp_path / "chase", chase.NAMES[:6]), tmp_path / "maps", tmp_path / "scores.json"
    for number, name in enumerate(chase.NAMES[:6]):
        images.write_mask(maps / f"{name}.png", np.random.default_rng(number).random(chase.SIZE) < 0.3)

    def scores(*args: str) -> dict[str, float]:
        command = ["evaluate", "--predictions", str(maps), "--data", f"folder:{data}", "--json", str(path), *args]
        assert segkit_here(*command) == 0
        return next(n for n in json.loads(path.read_text()) if n["metric"] == "dice" and n["averaging"] == "pooled")

    by_child = scores()
    assert "n = 6 images of 3 patients | 95 % intervals over patients" in capsys.readouterr().out
    assert (by_child["n"], by_child["num_groups"]) == (6, 3)
    by_image = scores("--group-pattern", "(.*)")
    assert "n = 6 images | 95 % intervals over images" in capsys.readouterr().out
    assert (by_image["value"], by_image["num_groups"]) == (by_child["value"], 6)
    assert (by_image["low"], by_image["high"]) != (by_child["low"], by_child["high"])


def test_maps_named_by_number_and_of_another_format_are_found(
    predictions: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(predictions, phantoms, "--split", "training") == 0
    expected = capsys.readouterr().out
    other = tmp_path / "other" / "maps"
    for path in predictions.glob("*_training.png"):
        images.write_mask(other / f"{path.name[:2]}.tif", images.read_mask(path))
    assert evaluate(other, phantoms, "--split", "training") == 0
    assert capsys.readouterr().out == expected


def test_a_threshold_of_one_s_own_is_recorded_as_given(
    predictions: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(predictions, phantoms, "--threshold", "0.25") == 0
    assert "threshold given" in capsys.readouterr().out


def test_what_is_not_predicted_is_named_and_left_out(
    predictions: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (predictions / "02_test.png").unlink()
    assert evaluate(predictions, phantoms, "--split", "test") == 0
    captured = capsys.readouterr()
    assert captured.err == "not predicted and left out: 02_test\n"
    assert "n = 1 image" in captured.out


def test_wrong_requests_are_answered(
    predictions: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(maps: Path, data: Path = phantoms, *args: str) -> str:
        capsys.readouterr()
        assert evaluate(maps, data, *args) == 2
        return capsys.readouterr().err

    assert "nowhere is no folder; give the one that holds the maps" in complaint(tmp_path / "nowhere")
    assert "holds no map of a labelled image; expected names such as 01_test.png" in complaint(phantoms)
    unlabelled = shutil.copytree(phantoms, tmp_path / "DRIVE")
    shutil.rmtree(unlabelled / "test" / "1st_manual")
    assert "has no labels in its test part; nothing can be scored" in complaint(
        predictions, unlabelled, "--split", "test"
    )
    images.write_mask(predictions / "01_test.png", np.ones((48, 50), bool))
    assert "01_test.png is 50x48 pixels, the labels 52x48; give maps of that size" in complaint(predictions)
    (predictions / "01_test.png").write_text("hello")
    assert "01_test.png is not a TIFF, GIF, PNG, JPEG or PPM image" in complaint(predictions)
