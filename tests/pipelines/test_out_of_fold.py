"""A model trained on all images, with threshold, temperature and scores from a cross-validation."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import segkit
from segkit.core.files import read_json, write_json
from segkit.tasks.weights import read_card
from tests.pipelines.test_cross_validate import pooled_dice, write
from tests.pipelines.tiny import TINY, segkit_here

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path: Path, stages_here: None) -> Path:
    """A cross-validation, and a training on all images that is one epoch longer."""
    runs, model = tmp_path / "runs", TINY["teacher"] | {"keep": "last"}
    data = TINY["data"] | {"num_val": 0}
    config = write(tmp_path / "cv.yaml", num_folds=2, data=data, model=model)
    assert segkit_here("pipeline", "run", "cross-validate", "-c", str(config), "--runs", str(runs)) == 0
    settings = {"runtime": TINY["runtime"], "data": data, "model": model}
    (tmp_path / "train.yaml").write_text(json.dumps(settings))
    train = ["pipeline", "run", "train", "-c", str(tmp_path / "train.yaml"), "--upto", "model"]
    longer = ["--set", "model.phases.0.epochs=3", "--set", "model.threshold=0.5"]
    assert segkit_here(*train, *longer, "--runs", str(tmp_path / "final")) == 0
    assert segkit_here(*train, "--set", "model.loss=dice", "--runs", str(tmp_path / "other")) == 0
    return runs


def test_the_card_has_the_out_of_fold_threshold_temperature_and_scores(runs: Path, tmp_path: Path) -> None:
    [folds], [final] = runs.glob("evaluate-*"), (tmp_path / "final").glob("model-*")
    out = tmp_path / "given"
    assert segkit_here("export", "--weights", str(final), "--out", str(out), "--out-of-fold", str(folds)) == 0
    card = read_card(out)
    assert (card.threshold_source, card.val_dice) == ("out-of-fold-best-dice", None)
    record = card.details["card"]["out_of_fold"]
    assert record["num_folds"] == 2
    [difference] = record["differs_from_this_training"]
    assert "phases.0.epochs" in difference
    [dice] = [m for m in record["scores"] if (m["metric"], m["region"], m["averaging"]) == ("dice", "fov", "pooled")]
    assert dice["n"] == TINY["data"]["phantom"]["num_train"]
    assert dice["low"] < dice["value"] < dice["high"]

    # before the temperature the threshold is the best one of all out-of-fold maps
    odds = (card.threshold / (1 - card.threshold)) ** card.temperature
    names = [name for fold in read_json(folds / "folds.json") for name in fold["images"]]
    best = max(pooled_dice(folds, names, threshold) for threshold in np.linspace(0.01, 0.99, 99))
    assert pooled_dice(folds, names, odds / (1 + odds)) >= best - 1e-4

    assert record["calibration"] == read_json(folds / "calibration.json")["model"]
    assert record["calibration"]["temperature"] == card.temperature != 1
    photo = next(next(runs.glob("data-*")).glob("images/*"))
    plain = segkit.load(final).predict(photo).probs.astype(np.float64)
    given = segkit.load(out).predict(photo)
    powers = plain ** (1 / card.temperature), (1 - plain) ** (1 / card.temperature)
    np.testing.assert_allclose(given.probs, powers[0] / sum(powers), atol=1e-4)
    assert given.threshold == card.threshold


def test_another_training_than_the_folds_is_refused(runs: Path, tmp_path: Path) -> None:
    [folds], [other] = runs.glob("evaluate-*"), (tmp_path / "other").glob("model-*")
    [final] = (tmp_path / "final").glob("model-*")
    out = ("--out", str(tmp_path / "out"))
    assert segkit_here("export", "--weights", str(other), *out, "--out-of-fold", str(folds)) == 2
    assert segkit_here("export", "--weights", str(final), *out, "--out-of-fold", str(final)) == 2
    fewer = tmp_path / "final" / "fewer"
    shutil.copytree(final, fewer)
    card = read_json(fewer / "model.json")
    card["details"]["images"]["train"].pop()
    (fewer / "model.json").unlink()
    write_json(fewer / "model.json", card)
    done = read_json(fewer / "done.json")
    done["outputs"]["model.json"]["bytes"] = (fewer / "model.json").stat().st_size
    write_json(fewer / "done.json", done)
    assert segkit_here("export", "--weights", str(fewer), *out, "--out-of-fold", str(folds)) == 2
    shutil.rmtree(next(runs.glob("model-1-*")))
    assert segkit_here("export", "--weights", str(final), *out, "--out-of-fold", str(folds)) == 2
    assert not (tmp_path / "out").exists()
