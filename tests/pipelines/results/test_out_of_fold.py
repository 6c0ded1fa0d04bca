"""A model trained on all images, with threshold, temperature and scores from a cross-validation."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import segkit
from pipelines.results.calibration import read_calibration
from segkit.core import images
from segkit.core.files import read_json, sha256_json, write_json
from segkit.core.manifest import write_manifest
from segkit.core.run_folder import describe_outputs, write_done
from segkit.data.settings import GeometrySettings
from segkit.metrics.curves import confusion_at
from segkit.metrics.measure import measure, to_json
from segkit.metrics.score import OWN, at_own_threshold, pool, save_scores
from segkit.models import build_model
from segkit.tasks.settings import TrainSettings
from segkit.tasks.weights import read_card, save_network
from tests.pipelines.finished_runs import THRESHOLD, scores
from tests.pipelines.tiny import segkit_here

NAMES = tuple(f"{number:02d}_test" for number in range(8))


def finished(folder: Path, kind: str, settings: dict[str, Any], inputs: dict[str, Path]) -> Path:
    """Mark a folder as that of a finished stage."""
    record = {
        "stage": folder.name,
        "type": kind,
        "fingerprint": sha256_json([folder.name, settings]),
        "settings": settings,
        "inputs": {name: {"folder": f"../{path.name}", "fingerprint": ""} for name, path in inputs.items()},
        "outputs": describe_outputs(folder),
        "git_commit": None,
    }
    write_done(folder, record)
    return folder


def network(folder: Path, train: tuple[str, ...] = NAMES, epochs: int = 3, **settings: Any) -> Path:
    """A network as the stage `train` writes it, with random weights."""
    phases = [{"data": "real", "epochs": epochs}]
    trained = TrainSettings.model_validate(
        {"model": {"name": "unet", "widths": [4, 8]}, "loss": "bce", "phases": phases} | settings
    )
    torch.manual_seed(0)
    state = build_model(trained.model).state_dict()
    save_network(folder, state, trained.model, GeometrySettings(), images={"train": [*train], "val": []})
    return finished(folder, "train", trained.model_dump(mode="json"), {})


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """A cross-validation of two folds as the stage `evaluate-folds` writes it."""
    models = {
        f"model-{fold}": network(tmp_path / f"model-{fold}", train=NAMES[4 * fold :][:4], keep="last")
        for fold in range(2)
    }
    out = tmp_path / "evaluate"
    (out / "scores").mkdir(parents=True)
    scored = [at_own_threshold(score, THRESHOLD) for score in scores(0.4)]
    save_scores(scored, out / "scores" / "out-of-fold-model.npz")
    write_json(out / "folds.json", [{"fold": fold, "images": NAMES[4 * fold :][:4]} for fold in range(2)])
    numbers = [to_json(number) for number in measure(scored, OWN, "other-folds-best-dice", num_resamples=100)]
    write_json(out / "measurements.json", {"out-of-fold": {"model": numbers}})
    write_manifest([], out)
    return finished(out, "evaluate-folds", {"inference": {"tta": "d4"}}, models)


def export(weights: Path, folds: Path, out: Path) -> int:
    return segkit_here("export", "--weights", str(weights), "--out", str(out), "--out-of-fold", str(folds))


def test_the_card_has_the_out_of_fold_threshold_temperature_and_scores(folds: Path, tmp_path: Path) -> None:
    final = network(tmp_path / "final", epochs=5, threshold=0.5, keep="last")
    assert export(final, folds, tmp_path / "given") == 0
    card = read_card(tmp_path / "given")
    assert (card.threshold_source, card.val_dice) == ("out-of-fold-best-dice", None)
    record = card.details["card"]["out_of_fold"]
    assert (record["num_folds"], record["inference"]) == (2, {"tta": "d4"})
    assert [text.split()[0] for text in record["differs_from_this_training"]] == ["threshold", "phases.0.epochs"]
    [dice] = [m for m in record["scores"] if (m["metric"], m["averaging"], m["region"])[:2] == ("dice", "pooled")][:1]
    assert (dice["n"], dice["threshold_source"]) == (8, "other-folds-best-dice")
    assert dice["low"] < dice["value"] < dice["high"]
    assert record["calibration"] == read_calibration(folds)
    assert record["calibration"]["temperature"] == card.temperature != 1

    # without the temperature the threshold is the one with the best pooled Dice of all out-of-fold maps
    odds = (card.threshold / (1 - card.threshold)) ** card.temperature
    counts = pool(scores(0.4), "fov")
    dices = [
        2 * at.tp / (2 * at.tp + at.fp + at.fn)
        for at in (confusion_at(counts, threshold) for threshold in (odds / (1 + odds), *np.linspace(0.01, 0.99, 99)))
    ]
    assert dices[0] == pytest.approx(max(dices), abs=1e-3)
    assert dices[0] >= max(dices[1:]) - 1e-4


def test_a_setting_that_the_model_s_record_does_not_have_yet_counts_as_its_default(folds: Path, tmp_path: Path) -> None:
    final = network(tmp_path / "final", keep="last")
    record = read_json(final / "done.json")
    del record["settings"]["seed_offset"], record["settings"]["phases"][0]["frozen"]
    write_done(final, record)
    assert export(final, folds, tmp_path / "given") == 0
    assert read_card(tmp_path / "given").details["card"]["out_of_fold"]["differs_from_this_training"] == []


def test_the_exported_model_predicts_with_its_temperature(folds: Path, tmp_path: Path) -> None:
    final = network(tmp_path / "final", keep="last")
    assert export(final, folds, tmp_path / "given") == 0
    photo = tmp_path / "photo.png"
    images.write_image(photo, np.random.default_rng(0).integers(60, 255, (48, 52, 3), dtype=np.uint8))
    given, plain = segkit.load(tmp_path / "given").predict(photo), segkit.load(final).predict(photo)
    temperature = read_card(tmp_path / "given").temperature
    with np.errstate(divide="ignore"):
        logits = np.log(plain.probs.astype(np.float64)) - np.log1p(-plain.probs.astype(np.float64))
    np.testing.assert_allclose(given.probs, 1 / (1 + np.exp(-logits / temperature)), atol=1e-4)
    assert np.abs(given.probs - plain.probs).max() > 1e-3
    assert given.threshold == read_card(tmp_path / "given").threshold
    folder = tmp_path / "out"
    assert segkit_here("predict", "--weights", str(tmp_path / "given"), "--out", str(folder), str(photo)) == 0
    np.testing.assert_array_equal(given.mask, images.read_mask(folder / "binary" / "photo.png"))


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "dice"},
        {"model": {"name": "unet", "widths": [4, 12]}},
        {"preprocessing": {"channels": "green"}, "model": {"name": "unet", "widths": [4, 8], "image_channels": 1}},
        {"phases": [{"data": "real", "epochs": 3, "augmentation": "photo"}]},
        {"train": NAMES[:6]},
    ],
    ids=["loss", "network", "preprocessing", "augmentation", "images"],
)
def test_a_model_that_was_not_trained_like_the_folds_is_refused(
    change: dict[str, Any], folds: Path, tmp_path: Path
) -> None:
    final = network(tmp_path / "final", **{"keep": "last", **change})
    assert export(final, folds, tmp_path / "given") == 2
    assert not (tmp_path / "given").exists()


def test_other_folders_than_a_whole_cross_validation_are_refused(folds: Path, tmp_path: Path) -> None:
    final = network(tmp_path / "final", keep="last")
    assert export(final, final, tmp_path / "given") == 2
    shutil.rmtree(tmp_path / "model-1")
    assert export(final, folds, tmp_path / "given") == 2
    assert not (tmp_path / "given").exists()
