"""`segkit evaluate` on predictions that lie on disk."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, roc_auc_score

import segkit
from segkit.core import images
from segkit.core.errors import RequestError
from segkit.data.readers import open_dataset, part_of
from tests.data import chase
from tests.pipelines.tiny import environment, segkit_here


@pytest.fixture
def predictions(phantoms: Path, tmp_path: Path) -> Path:
    """Maps of every image: the labels with a rectangle turned over."""
    folder = tmp_path / "maps"
    for image_row in open_dataset(f"drive:{phantoms}").rows:
        assert image_row.reference is not None
        vessels = images.read_mask(*image_row.reference)
        vessels[10:20, 10:30] ^= True
        images.write_mask(folder / f"{image_row.name}.png", vessels)
    return folder


def evaluate(predictions: Path, data: Path, *args: str) -> int:
    return segkit_here("evaluate", "--predictions", str(predictions), "--data", f"drive:{data}", *args)


def expected_dice(predictions: Path, data: Path, part: str) -> float:
    """Pooled Dice inside the field of view, counted here."""
    tp = fp = fn = 0
    for image_row in open_dataset(f"drive:{data}").rows:
        if part_of(image_row) == part:
            assert image_row.reference is not None
            assert image_row.region is not None
            fov = images.read_mask(*image_row.region)
            found, true = (
                images.read_mask(predictions / f"{image_row.name}.png")[fov],
                images.read_mask(*image_row.reference)[fov],
            )
            tp, fp, fn = tp + np.sum(found & true), fp + np.sum(found & ~true), fn + np.sum(~found & true)
    return float(2 * tp / (2 * tp + fp + fn))


def test_the_numbers_are_right_and_say_what_they_are(
    predictions: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep" / "scores.json"
    assert evaluate(predictions, phantoms, "--split", "test", "--json", str(path)) == 0
    dice = expected_dice(predictions, phantoms, "test")
    out = capsys.readouterr().out
    assert "class vessel | region fov | threshold 0.5000 (fixed-0.5) | n = 2 images" in out
    assert f"{dice:.4f}" in out
    found = [
        number
        for number in json.loads(path.read_text())["measurements"]
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
        numbers = json.loads(path.read_text())["measurements"]
        return next(n for n in numbers if (n["metric"], n["averaging"]) == ("dice", "pooled"))

    by_child = scores()
    assert "n = 6 images of 3 patients | 95 % intervals over patients" in " ".join(capsys.readouterr().out.split())
    assert (by_child["n"], by_child["num_groups"]) == (6, 3)
    by_image = scores("--group-pattern", "(.*)")
    assert "n = 6 images | 95 % intervals over images" in " ".join(capsys.readouterr().out.split())
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
    assert "threshold 0.2500 (given)" in capsys.readouterr().out


def test_what_is_not_predicted_is_named_and_left_out(
    predictions: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (predictions / "02_test.png").unlink()
    assert evaluate(predictions, phantoms, "--split", "test") == 0
    captured = capsys.readouterr()
    assert captured.err == "not predicted and left out: 02_test\n"
    assert "n = 1 image" in captured.out


def write_record(maps: Path, data: Path, splits: dict[str, str | None] | None = None, **changes: Any) -> None:
    """A `predictions.json` beside the maps, of images that were used as `splits` says."""
    entries = {
        image_row.name: {
            "sha256": hashlib.sha256(image_row.image.path.read_bytes()).hexdigest(),
            "fov": "given",
            **({} if splits is None else {"model_split": splits.get(image_row.name)}),
        }
        for image_row in open_dataset(f"drive:{data}").rows
    }
    record = {"weights": "/models/a", "weights_sha256": "0" * 64, "tta": "none", "tile": None, "images": entries}
    record |= {"threshold": 0.25, "threshold_source": "val-best-dice", **changes}
    (maps.parent / "predictions.json").write_text(json.dumps(record))


@pytest.fixture
def gray(phantoms: Path, tmp_path: Path) -> Path:
    """Probability maps: higher on vessels, with noise."""
    rng = np.random.default_rng(0)
    for image_row in open_dataset(f"drive:{phantoms}").rows:
        assert image_row.reference is not None
        vessels = images.read_mask(*image_row.reference)
        noise = rng.uniform(-0.3, 0.3, vessels.shape)
        images.write_probs(tmp_path / "run" / "probs" / f"{image_row.name}.png", 0.3 + 0.4 * vessels + noise)
    return tmp_path / "run" / "probs"


def numbers(maps: Path, data: Path, tmp_path: Path, *args: str) -> dict[str, Any]:
    """What `--json` holds."""
    assert evaluate(maps, data, "--json", str(tmp_path / "numbers.json"), *args) == 0
    read: dict[str, Any] = json.loads((tmp_path / "numbers.json").read_text())
    return read


def test_the_threshold_is_the_recorded_one_unless_one_is_given(
    gray: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(maps: Path, *args: str) -> tuple[float, str, set[float]]:
        found = numbers(maps, phantoms, tmp_path, *args)
        used = {m["threshold"] for m in found["measurements"]} - {None}
        return found["threshold"], found["threshold_source"], used

    assert cut(gray) == (0.5, "fixed-0.5", {0.5})
    assert "threshold 0.5000 (fixed-0.5) from the default, as there is no predictions.json" in capsys.readouterr().out
    write_record(gray, phantoms)
    assert cut(gray) == cut(gray.parent) == (0.25, "val-best-dice", {0.25})
    out = "".join(capsys.readouterr().out.split())  # a long path is broken into lines
    assert f"threshold0.2500(val-best-dice)from{gray.parent / 'predictions.json'}" in out
    assert cut(gray, "--threshold", "0.125") == (0.125, "given", {0.125})
    (gray.parent / "predictions.json").write_text("{}")
    assert evaluate(gray, phantoms) == 2
    assert "predictions.json is damaged" in capsys.readouterr().err


def test_no_line_is_wider_than_a_terminal_and_metrics_are_rows(
    gray: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(gray, phantoms, {"21_training": "train"})
    assert evaluate(gray, phantoms) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    first = [line.split("  ")[0] for line in lines]
    assert [first.count(name) for name in ("Dice (F1)", "Specificity", "AUROC", "ECE")] == [4] * 4


def test_the_numbers_of_each_image_are_written(gray: Path, phantoms: Path, tmp_path: Path) -> None:
    path = tmp_path / "images.csv"
    in_json = numbers(gray, phantoms, tmp_path, "--threshold", "0.2", "--per-image", str(path))["images"]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [{k: str(v) for k, v in row.items()} for row in in_json] == rows
    assert [(row["name"], row["part"], row["region"]) for row in rows[:3]] == [
        ("01_test", "test", "fov"),
        ("01_test", "test", "all-pixels"),
        ("02_test", "test", "fov"),
    ]
    data_rows = {image_row.name: image_row for image_row in open_dataset(f"drive:{phantoms}").rows}
    assert {row["name"] for row in rows} == data_rows.keys()
    for row in rows:
        image_row = data_rows[row["name"]]
        assert image_row.reference is not None
        assert image_row.region is not None
        fov = images.read_mask(*image_row.region)
        region = fov if row["region"] == "fov" else np.ones_like(fov)
        true, probs = (
            images.read_mask(*image_row.reference)[region],
            images.read_probs(gray / f"{image_row.name}.png")[region],
        )
        assert float(row["dice"]) == pytest.approx(f1_score(true, probs >= 0.2), abs=1e-9)
        assert float(row["auroc"]) == pytest.approx(roc_auc_score(true, probs), abs=1e-9)


def test_binary_maps_have_no_auroc(
    predictions: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = numbers(predictions, phantoms, tmp_path)
    metrics = {m["metric"] for m in found["measurements"]}
    assert {"auroc", "auprc", "log_loss", "ece"} & (metrics | found["images"][0].keys()) == set()
    assert {"dice", "cldice", "mcc"} <= metrics
    assert "AUROC" not in capsys.readouterr().out


def test_a_map_of_zeros_and_ones_is_a_binary_map(predictions: Path, phantoms: Path, tmp_path: Path) -> None:
    expected = numbers(predictions, phantoms, tmp_path)["images"]
    for path in predictions.iterdir():
        Image.fromarray(images.read_mask(path).astype(np.uint8)).save(path)
    assert numbers(predictions, phantoms, tmp_path)["images"] == expected


def test_two_images_have_no_interval_and_six_have_one(
    gray: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = numbers(gray, phantoms, tmp_path)["measurements"]
    assert {m["part"] for m in found if m["low"] is None} == {"test"}
    assert {m["part"] for m in found if m["low"] is not None} == {"training"}
    test, training = capsys.readouterr().out.split("== training")
    assert "95 %" not in test
    assert "95 % interval" in training


@pytest.mark.parametrize(
    ("splits", "used"),
    [
        ({"21_training": "train", "22_training": "train", "23_training": "val", "01_test": "train"}, (2, 1, 1)),
        ({}, (0, 0, 0)),
    ],
)
def test_only_images_the_model_was_made_with_are_said_to_score_too_well(
    gray: Path, phantoms: Path, tmp_path: Path, splits: dict[str, str | None], used: tuple[int, int, int]
) -> None:
    write_record(gray, phantoms, splits)
    notes = numbers(gray, phantoms, tmp_path)["notes"]
    trained, chosen, tested = used
    clean = [
        "none of these files was used to train or choose the model (by sha256; a picture saved anew counts as another)"
    ]
    if not splits:
        assert notes == {"test": clean, "training": clean}
        return
    assert notes["training"] == [
        f"the model was trained on {trained} of 6 images (21_training, 22_training); its scores there are too high",
        f"the model was chosen with {chosen} of 6 images (23_training); its scores there are too high",
    ]
    assert notes["test"] == [f"the model was trained on {tested} of 2 images (01_test); its scores there are too high"]


def test_where_nothing_is_known_of_the_model_nothing_is_claimed(
    gray: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for recorded in (False, True):
        if recorded:
            write_record(gray, phantoms)
        notes = numbers(gray, phantoms, tmp_path)["notes"]
        assert notes["test"] == []
        assert [note[:20] for note in notes["training"]] == ["if the model was tra"]
    write_record(gray, phantoms, {}, images={"01_test": {"sha256": "0", "fov": "given", "model_split": None}})
    assert evaluate(gray, phantoms, "--split", "test") == 0
    assert "no entry for these files: 01_test, 02_test" in capsys.readouterr().err


def test_an_estimated_field_of_view_is_told(gray: Path, phantoms: Path, tmp_path: Path) -> None:
    write_record(gray, phantoms, {})
    record = json.loads((gray.parent / "predictions.json").read_text())
    record["images"]["01_test"]["fov"] = "estimated"
    (gray.parent / "predictions.json").write_text(json.dumps(record))
    assert "for 1 of 2 images (01_test)" in numbers(gray, phantoms, tmp_path)["notes"]["test"][0]
    for kind in ("images", "masks"):
        for image_row in open_dataset(f"drive:{phantoms}").rows:
            (tmp_path / "own" / kind).mkdir(exist_ok=True, parents=True)
            source = image_row.image if kind == "images" else image_row.reference
            assert source is not None
            shutil.copy(source.path, tmp_path / "own" / kind / f"{image_row.name}{source.path.suffix}")
    path = tmp_path / "own.json"
    args = ("--predictions", str(gray), "--data", f"folder:{tmp_path / 'own'}", "--json", str(path))
    assert segkit_here("evaluate", *args) == 0
    assert "region fov: estimated from the image for all 8 images" in json.loads(path.read_text())["notes"]["training"]


def test_scoring_needs_no_torch(gray: Path, phantoms: Path) -> None:
    code = (
        "import sys\nfrom segkit.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    args = ["evaluate", "--predictions", str(gray), "--data", f"drive:{phantoms}"]
    subprocess.run([sys.executable, "-c", code, *args], env=environment(), capture_output=True, check=True)


def test_wrong_arguments_in_python_are_refused(gray: Path, phantoms: Path) -> None:
    with pytest.raises(RequestError, match="split is 'train'"):
        segkit.evaluate(gray, f"drive:{phantoms}", split="train")
    with pytest.raises(RequestError, match="threshold is 7"):
        segkit.evaluate(gray, f"drive:{phantoms}", threshold=7.0)


def test_a_folder_that_prediction_save_wrote_is_scored_by_its_probabilities(gray: Path, phantoms: Path) -> None:
    assert gray.name == "probs"
    expected, scored = (segkit.evaluate(folder, f"drive:{phantoms}").to_json() for folder in (gray, gray.parent))
    assert scored["images"] == expected["images"]


def test_one_further_metric_is_given_by_its_name(gray: Path, phantoms: Path) -> None:
    assert "hd95" in segkit.evaluate(gray, f"drive:{phantoms}", metrics="hd95").parts[0].metrics


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
    assert "01_test.png is not a TIFF, GIF, PNG, JPEG, PPM, WebP or BMP image" in complaint(predictions)
