"""Training that keeps the last weights, with and without validation images."""

import json
from pathlib import Path

import pytest

from segkit.core.files import read_json
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
