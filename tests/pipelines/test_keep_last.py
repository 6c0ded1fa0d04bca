"""Training that keeps the last weights, with and without validation images."""

import json
from pathlib import Path

import pytest

from segkit.core.files import read_json
from segkit.data import phantom
from segkit.tasks.weights import read_card
from tests.pipelines.tiny import TINY, segkit_here


@pytest.fixture
def train(tmp_path: Path, stages_here: None) -> list[str]:
    """`segkit pipeline run train` on phantoms, no image of which is set aside for validation."""
    model = TINY["teacher"] | {"keep": "last"}
    settings = {"runtime": TINY["runtime"], "data": TINY["data"] | {"num_val": 0}, "model": model}
    (tmp_path / "train.yaml").write_text(json.dumps(settings))
    return ["pipeline", "run", "train", "-c", str(tmp_path / "train.yaml"), "--runs", str(tmp_path / "runs")]


def test_all_images_can_train_a_model(train: list[str], tmp_path: Path) -> None:
    assert segkit_here(*train) == 0
    card = read_card(next((tmp_path / "runs").glob("model-*")))
    assert (card.threshold, card.threshold_source, card.val_dice) == (0.5, "fixed-0.5", None)
    assert len(card.details["images"]["train"]) == TINY["data"]["phantom"]["num_train"]
    assert card.details["images"]["val"] == []
    measured = read_json(next((tmp_path / "runs").glob("evaluate-*")) / "measurements.json")
    assert list(measured) == ["test"]


def test_a_threshold_can_be_given(train: list[str], tmp_path: Path) -> None:
    assert segkit_here(*train, "--set", "model.threshold=0.37", "--upto", "model") == 0
    card = read_card(next((tmp_path / "runs").glob("model-*")))
    assert (card.threshold, card.threshold_source) == (0.37, "given")


@pytest.mark.parametrize("change", ["model.keep=best", "model.phases.0.early_stop_epochs=1"])
def test_what_needs_validation_images_is_refused_without_them(train: list[str], change: str) -> None:
    assert segkit_here(*train, "--set", change) == 2


@pytest.mark.parametrize("num_test", [0, 2], ids=["no other image", "unlabelled test images"])
def test_without_a_labelled_image_left_the_run_ends_well_and_shows_no_score(
    train: list[str], num_test: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom.write_dataset(tmp_path / "eyes", 4, num_test, 48, 52, test_labels=False)
    assert segkit_here(*train, "--data", f"drive:{tmp_path / 'eyes'}", "--set", "model.threshold=0.5") == 0
    assert "nothing to score" in capsys.readouterr().out
    [evaluation] = (tmp_path / "runs").glob("evaluate-*")
    assert read_json(evaluation / "measurements.json") == {}
    assert not (evaluation / "scores").exists()
    assert len(list(evaluation.glob("predictions/model/probs/*.png"))) == num_test
    [report] = (tmp_path / "runs").glob("report-*")
    assert read_json(report / "verdict.json")["outcome"] == "none"
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "Dice 0" not in page
    assert ("Prediction of test image" in page) == bool(num_test)
    assert segkit_here("runs", "list", "--runs", str(tmp_path / "runs")) == 0
