"""Models that are given away: `segkit export` and the shipped models."""

from pathlib import Path

import numpy as np
import pytest

import segkit
from segkit import weights
from segkit.core import images
from segkit.core.errors import WeightsError
from segkit.core.files import read_csv, read_json, sha256_file
from tests.pipelines.tiny import segkit_here

pytestmark = pytest.mark.slow


@pytest.fixture
def teacher(finished_runs: Path) -> Path:
    return next(finished_runs.glob("teacher-*"))


@pytest.fixture
def exported(finished_runs: Path, teacher: Path, tmp_path: Path) -> Path:
    evaluation = next(finished_runs.glob("evaluate-*"))
    options = ("--evaluation", str(evaluation), "--notes", "phantoms only")
    assert segkit_here("export", "--weights", str(teacher), "--out", str(tmp_path / "given"), *options) == 0
    return tmp_path / "given"


def test_an_exported_model_predicts_as_the_stage_does(exported: Path, teacher: Path, finished_runs: Path) -> None:
    photo = next(next(finished_runs.glob("data-*")).glob("images/*"))
    assert {path.name for path in exported.iterdir()} == {"model.json", "model.safetensors"}
    np.testing.assert_array_equal(segkit.load(exported).predict(photo).probs, segkit.load(teacher).predict(photo).probs)


def test_the_card_names_training_digests_and_scores(exported: Path, teacher: Path, finished_runs: Path) -> None:
    card = read_json(exported / "model.json")["details"]["card"]
    assert card["notes"] == "phantoms only"
    assert card["sha256"] == {"model.safetensors": sha256_file(exported / "model.safetensors")}
    done = read_json(teacher / "done.json")
    assert card["training"]["fingerprint"] == done["fingerprint"]
    assert card["training"]["settings"] == done["settings"]
    measured = read_json(next(finished_runs.glob("evaluate-*")) / "measurements.json")
    dice = [score for score in card["scores"] if score["metric"] == "dice" and score["averaging"] == "pooled"]
    expected = [m for ms in measured.values() for m in ms["teacher"] if m["metric"] == "dice"]
    assert {score["value"] for score in dice} <= {m["value"] for m in expected}
    assert dice


def test_an_exported_model_has_the_given_threshold_and_views(
    exported: Path, teacher: Path, finished_runs: Path, tmp_path: Path
) -> None:
    options = ("--threshold", "0.37", "--tta", "d4")
    assert segkit_here("export", "--weights", str(teacher), "--out", str(tmp_path / "d4"), *options) == 0
    photo = next(next(finished_runs.glob("data-*")).glob("images/*"))
    result = segkit.load(tmp_path / "d4").predict(photo)
    expected = segkit.load(exported).predict(photo, threshold=0.37, tta="d4")
    np.testing.assert_array_equal(result.probs, expected.probs)
    np.testing.assert_array_equal(result.mask, expected.mask)
    assert segkit_here("predict", "--weights", str(tmp_path / "d4"), "--out", str(tmp_path / "maps"), str(photo)) == 0
    record = read_json(tmp_path / "maps" / "predictions.json")
    assert (record["tta"], record["threshold"]) == ("d4", 0.37)
    written = images.read_probs(tmp_path / "maps" / "probs" / f"{photo.stem}.png")
    np.testing.assert_array_equal(written, result.probs)


def test_a_shipped_model_is_exported_with_another_threshold_and_its_own_training(tmp_path: Path) -> None:
    options = ("--weights", "vessels", "--threshold", "0.5", "--tta", "none", "--out", str(tmp_path / "mine"))
    assert segkit_here("export", *options) == 0
    mine, shipped = (
        read_json(folder / "model.json") for folder in (tmp_path / "mine", weights.model_folder("vessels"))
    )
    assert (mine["threshold"], mine["threshold_source"], mine["tta"]) == (0.5, "given", "none")
    notes = mine["details"]["card"].pop("notes")
    assert notes == shipped["details"]["card"].pop("notes") + "\nThe threshold 0.5 was given at a later export."
    assert mine["details"] == shipped["details"]
    images.write_image(tmp_path / "black.png", np.zeros((48, 52, 3), np.uint8))
    predict = ("predict", "--weights", str(tmp_path / "mine"), "--out", str(tmp_path / "out"), "--vessel-table")
    assert segkit_here(*predict, str(tmp_path / "black.png")) == 0
    record = read_json(tmp_path / "out" / "predictions.json")
    assert (record["threshold"], record["threshold_source"]) == (0.5, "card")
    [row] = read_csv(tmp_path / "out" / "vessels.csv")
    assert (float(row["area_share"]), row["warnings"]) == (0, "blank, so nothing is predicted")


def test_a_folder_that_holds_something_is_refused(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for name in ("mine", "mine.onnx"):
        assert segkit_here("export", "--weights", str(teacher), "--out", str(tmp_path / name)) == 2
    assert not (tmp_path / "mine.onnx").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_what_is_no_finished_model_is_not_exported(finished_runs: Path, teacher: Path, tmp_path: Path) -> None:
    data = next(finished_runs.glob("data-*"))
    out = ("--out", str(tmp_path / "out"))
    assert segkit_here("export", "--weights", str(data), *out) == 2
    assert segkit_here("export", "--weights", str(teacher), "--evaluation", str(data), *out) == 2
    assert not (tmp_path / "out").exists()


def test_a_shipped_model_is_known_by_its_name(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "shipped"
    root.mkdir()
    exported.rename(root / "phantoms")
    monkeypatch.setattr(weights, "ROOT", root)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phantoms").mkdir()
    assert weights.model_folder("phantoms") == root / "phantoms"
    assert weights.model_folder("./phantoms") == Path("phantoms")
    with pytest.raises(WeightsError):
        weights.model_folder("vessel")
    images.write_image(tmp_path / "photo.png", np.full((48, 52, 3), 90, np.uint8))
    assert segkit_here("predict", "--weights", "phantoms", str(tmp_path / "photo.png")) == 0
    assert (tmp_path / "predictions" / "probs" / "photo.png").exists()
