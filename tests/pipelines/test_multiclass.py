"""A whole pipeline on phantoms of three classes: background, vessel and disc."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from segkit.core import images
from segkit.core.files import read_json
from segkit.core.manifest import Manifest, read_manifest
from segkit.data import labels
from segkit.data.phantom import CLASSES
from segkit.metrics.measure import ALL
from segkit.metrics.metrics import DEFAULT_METRICS
from segkit.tasks.weights import read_card
from tests.pipelines import tiny

UNET = {"name": "unet", "widths": [4, 8], "upsampling": "bilinear"}
MODELS = ("teacher", "mixed", "mixed-control", "ensemble")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder after data, teacher, GAN, samples, pseudo-labels, students, ensemble and evaluation."""
    root = tmp_path_factory.mktemp("multiclass")
    phases = [{"data": "mixed", "epochs": 2, "batch_size": 2, "pseudo_labels": "confidence"}]
    config = tiny.write_config(
        root / "tiny.yaml",
        {
            "data.phantom.classes": "multiclass",
            "data.phantom.height": 64,
            "data.phantom.width": 68,
            "data.num_holdout": 1,
            "teacher.model": UNET,
            "teacher.loss": [{"name": "ce"}, {"name": "dice", "background": False}],
            "teacher.phases": [
                {"data": "real", "epochs": 8, "batch_size": 2, "optimizer": {"learning_rate": 0.01}},
            ],
            "students": {"mixed": {"model": UNET, "phases": phases}},
            "gan.kimg": 0.02,
            "fidelity.enabled": False,
        },
    )
    tiny.run_here(config, root / "runs", upto="evaluate")
    return root / "runs"


def folder_of(runs: Path, stage: str) -> Path:
    [done] = [path for path in runs.glob(f"{stage}-*/done.json") if path.parent.name[len(stage) + 1 :].isalnum()]
    return done.parent


def test_the_classes_reach_every_manifest_and_every_model(runs: Path) -> None:
    for stage in ("data", "pseudo-labels"):
        assert read_manifest(folder_of(runs, stage)).classes == CLASSES
    for stage in MODELS:
        card = read_card(folder_of(runs, stage))
        assert card.classes == CLASSES
        assert card.threshold_source == "argmax"
        assert card.val_dice is not None
        assert 0 < card.val_dice <= 1


def test_pseudo_labels_are_probabilities_of_every_class(runs: Path) -> None:
    rows = read_manifest(folder_of(runs, "pseudo-labels")).rows
    assert len(rows) == 4
    for row in rows:
        assert row.target is not None
        probs = labels.read_probs(row.target.path, CLASSES)
        assert row.region is not None
        region = images.read_mask(*row.region)
        assert probs.shape == (3, *region.shape)
        np.testing.assert_allclose(probs.sum(axis=0)[region], 1, atol=1e-3)
        assert (probs[0, ~region] == 1).all()
        assert not probs[1:, ~region].any()


def test_every_model_is_measured_in_every_class_and_in_all_together(runs: Path) -> None:
    measured: dict[str, dict[str, list[dict[str, Any]]]] = read_json(folder_of(runs, "evaluate") / "measurements.json")
    assert list(measured) == ["test", "holdout", "val"]
    for models in measured.values():
        assert set(models) == set(MODELS)
        for numbers in models.values():
            keys = {(n["class_name"], n["metric"], n["region"], n["averaging"]) for n in numbers}
            assert {n["class_name"] for n in numbers} == {ALL, "background", "vessel", "disc"}
            assert len(keys) == len(numbers) == (4 * len(DEFAULT_METRICS) - 3) * 2 * 2
            assert {n["threshold_source"] for n in numbers} == {"argmax", "none"}


def truth_and_prediction(rows: Manifest, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Class indices of all pixels inside the region, of all images, from the files."""
    pairs = []
    for row in rows.rows:
        assert row.reference is not None
        assert row.region is not None
        region = images.read_mask(*row.region)
        pairs.append(
            (images.read_indices(*row.reference)[region], images.read_indices(folder / f"{row.name}.png")[region])
        )
    truth, prediction = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return truth, prediction


def test_the_numbers_are_those_of_scikit_learn_on_the_written_maps(runs: Path) -> None:
    evaluate = folder_of(runs, "evaluate")
    measured = read_json(evaluate / "measurements.json")
    rows = read_manifest(folder_of(runs, "data"))
    for split in ("test", "val"):
        for model in MODELS:
            truth, prediction = truth_and_prediction(rows.split(split), evaluate / "predictions" / model / "binary")  # type: ignore[arg-type]
            numbers = {
                (n["metric"], n["class_name"]): n["value"]
                for n in measured[split][model]
                if (n["region"], n["averaging"]) == ("fov", "pooled")
            }
            dice = sk.f1_score(truth, prediction, average=None, labels=[0, 1, 2], zero_division=0)
            for name, value in zip(CLASSES.names, dice, strict=True):
                assert numbers["dice", name] == pytest.approx(value, abs=1e-9)
            assert numbers["dice", ALL] == pytest.approx(dice.mean(), abs=1e-9)
            assert numbers["accuracy", ALL] == pytest.approx(sk.accuracy_score(truth, prediction), abs=1e-9)


def test_the_teacher_has_learnt_something_about_each_class(runs: Path) -> None:
    numbers = read_json(folder_of(runs, "evaluate") / "measurements.json")["test"]["teacher"]
    auroc = {
        n["class_name"]: n["value"]
        for n in numbers
        if (n["metric"], n["region"], n["averaging"]) == ("auroc", "fov", "pooled")
    }
    assert min(auroc["vessel"], auroc["disc"]) > 0.55


def test_the_tables_name_the_class(runs: Path) -> None:
    text = (folder_of(runs, "evaluate") / "tables.txt").read_text()
    for name in (ALL, *CLASSES.names):
        assert f"class {name} | region fov" in text


def test_the_ensemble_is_the_rule_with_the_best_mean_dice_on_validation(runs: Path) -> None:
    folder = folder_of(runs, "ensemble")
    card = json.loads((folder / "model.json").read_text())
    candidates = card["details"]["candidates"]
    assert len(candidates) > 1
    assert card["val_dice"] == max(one["val_dice"] for one in candidates.values())
    measured = read_json(folder_of(runs, "evaluate") / "measurements.json")["val"]["ensemble"]
    [dice] = [
        n["value"]
        for n in measured
        if (n["metric"], n["class_name"], n["region"], n["averaging"]) == ("dice", ALL, "fov", "pooled")
    ]
    assert dice == pytest.approx(card["val_dice"], abs=1e-3)


def test_the_models_predict_and_are_scored_by_hand_as_in_the_pipeline(runs: Path, tmp_path: Path) -> None:
    """`segkit predict` and `segkit evaluate` on a folder of the user's own, of the same classes."""
    data, own = folder_of(runs, "data"), tmp_path / "own"
    rows = read_manifest(data).split("test").rows
    for row in rows:
        assert row.reference is not None
        assert row.region is not None
        for name, source in (("images", row.image), ("masks", row.reference), ("fov", row.region)):
            (own / "test" / name).mkdir(parents=True, exist_ok=True)
            (own / "test" / name / f"{row.name}.png").write_bytes(source.path.read_bytes())
    (own / "classes.yaml").write_text("kind: multiclass\nnames: [background, vessel, disc]\n")
    out, numbers = tmp_path / "predicted", tmp_path / "numbers.json"
    model = folder_of(runs, "teacher")
    args = ("--data", f"folder:{own}", "--out", str(out))
    assert tiny.segkit_here("predict", "--weights", str(model), *args) == 0
    record = json.loads((out / "predictions.json").read_text())
    assert record["classes"]["names"] == list(CLASSES.names)
    for row in rows:
        assert (out / record["images"][row.name]["probs"]).is_file()
        assert (out / record["images"][row.name]["binary"]).is_file()
    scoring = ("evaluate", "--predictions", str(out), "--data", f"folder:{own}", "--json", str(numbers))
    assert tiny.segkit_here(*scoring) == 0
    by_hand = {
        (n["metric"], n["class_name"], n["region"], n["averaging"]): n["value"]
        for n in json.loads(numbers.read_text())["measurements"]
    }
    in_pipeline = read_json(folder_of(runs, "evaluate") / "measurements.json")["test"]["teacher"]
    assert len(by_hand) == len(in_pipeline)
    for n in in_pipeline:
        value = by_hand[n["metric"], n["class_name"], n["region"], n["averaging"]]
        assert value == (n["value"] if n["value"] is None else pytest.approx(n["value"], abs=1e-12))
    (own / "classes.yaml").write_text("kind: multiclass\nnames: [background, vein, disc]\n")
    assert tiny.segkit_here(*scoring) == 2  # other classes
    assert tiny.segkit_here("predict", "--weights", str(model), *args, "--threshold", "0.5") == 2


def test_pixels_outside_the_region_are_predicted_as_background(runs: Path) -> None:
    """They belong to it in the phantoms, so that more of them make the log loss of every model and class smaller."""
    models = read_json(folder_of(runs, "evaluate") / "measurements.json")["test"]
    for numbers in models.values():
        loss = {
            (n["class_name"], n["region"]): n["value"]
            for n in numbers
            if (n["metric"], n["averaging"]) == ("log_loss", "pooled")
        }
        for name in CLASSES.names:
            assert loss[name, "all-pixels"] < loss[name, "fov"]
