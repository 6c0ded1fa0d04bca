"""The recipe that scores every labelled image out of fold."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.recipes.cross_validate import CrossValidateSettings, build
from pipelines.results.measurements import OUT_OF_FOLD
from pipelines.stage_types import MODEL
from segkit.core import images
from segkit.core.classes import VESSEL
from segkit.core.files import read_json
from segkit.core.manifest import read_manifest
from segkit.data import phantom
from segkit.data.fov import read_region
from segkit.data.settings import DataSettings
from tests.pipelines.tiny import TINY, segkit_here

NUM_FOLDS = 3


def write(path: Path, **sections: object) -> Path:
    settings = {key: TINY[key] for key in ("runtime", "data", "evaluate")}
    settings |= {"num_folds": NUM_FOLDS, "model": TINY["teacher"]} | sections
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def pooled_dice(folder: Path, names: list[str], thresholds: dict[str, float] | float | None, run: str = MODEL) -> float:
    """Dice of all pixels inside the field of view, in numpy; None takes the binary maps as written."""
    overlap = total = 0
    for row in read_manifest(folder).rows:
        if row.name in names:
            maps, truth, region = (
                folder / "predictions" / run,
                images.read_mask(*row.reference),
                read_region(row, VESSEL),
            )
            if thresholds is None:
                predicted = images.read_mask(maps / "binary" / f"{row.name}.png")
            else:
                threshold = thresholds[row.name] if isinstance(thresholds, dict) else thresholds
                predicted = images.read_levels(maps / "probs" / f"{row.name}.png") / 65535 >= threshold
            overlap += int((predicted & truth & region).sum())
            total += int((predicted & region).sum()) + int((truth & region).sum())
    return 2 * overlap / total


def test_every_image_is_scored_once_at_a_threshold_from_the_other_folds(tmp_path: Path, stages_here: None) -> None:
    config, runs = write(tmp_path / "cv.yaml"), tmp_path / "runs"
    assert segkit_here("pipeline", "run", "cross-validate", "-c", str(config), "--runs", str(runs)) == 0
    [folder], [page] = runs.glob("evaluate-*"), runs.glob("report-*/report.html")
    folds = read_json(folder / "folds.json")
    names = [name for fold in folds for name in fold["images"]]
    assert sorted(names) == sorted({row.name for row in read_manifest(folder).rows})
    assert len(names) == TINY["data"]["phantom"]["num_train"]

    thresholds = {name: fold["cut"] for fold in folds for name in fold["images"]}
    for fold in folds:
        others = [name for name in names if name not in fold["images"]]
        best = max(pooled_dice(folder, others, threshold) for threshold in np.linspace(0.01, 0.99, 99))
        assert pooled_dice(folder, others, fold["cut"]) >= best
        assert fold["dice"] == pytest.approx(pooled_dice(folder, fold["images"], fold["cut"]))

    [dice] = [
        number
        for number in read_json(folder / "measurements.json")[OUT_OF_FOLD][MODEL]
        if (number["metric"], number["region"], number["averaging"]) == ("dice", "fov", "pooled")
    ]
    assert (dice["n"], dice["threshold"], dice["threshold_source"]) == (len(names), None, "other-folds-best-dice")
    assert dice["value"] == pytest.approx(pooled_dice(folder, names, thresholds))
    assert dice["value"] == pytest.approx(pooled_dice(folder, names, None))
    assert dice["low"] < dice["value"] < dice["high"]
    assert f"{dice['value']:.4f}" in page.read_text(encoding="utf-8")


def test_no_fold_s_network_trains_or_validates_with_the_images_it_is_scored_on(
    tmp_path: Path, stages_here: None
) -> None:
    config, runs = write(tmp_path / "cv.yaml"), tmp_path / "runs"
    command = ["pipeline", "run", "cross-validate", "-c", str(config), "--runs", str(runs)]
    for number in range(NUM_FOLDS):
        assert segkit_here(*command, "--upto", f"fold-{number}") == 0
    manifests = [read_manifest(folder) for folder in sorted(runs.glob("fold-*"))]
    left_out = [{row.name for row in manifest.split(OUT_OF_FOLD).rows} for manifest in manifests]
    assert len(set.union(*left_out)) == sum(map(len, left_out)) == TINY["data"]["phantom"]["num_train"]
    for manifest, names in zip(manifests, left_out, strict=True):
        assert len(manifest.split("val")) == TINY["data"]["num_val"]
        assert not names & {row.name for row in manifest.split("train", "val").rows}
        assert all(row.image.path.exists() for row in manifest.rows)


@pytest.mark.parametrize(
    "section",
    [{"num_folds": 1}, {"data": TINY["data"] | {"num_folds": 3}}, {"model": {"phases": [{"data": "mixed"}]}}],
    ids=["one fold", "folds twice", "synthetic images"],
)
def test_settings_that_make_no_cross_validation_are_refused(section: dict[str, object], tmp_path: Path) -> None:
    assert segkit_here("pipeline", "show", "cross-validate", "-c", str(write(tmp_path / "cv.yaml", **section))) == 2


def test_small_data_sets_are_cut_by_the_folds_alone() -> None:
    settings = CrossValidateSettings(data=DataSettings(num_val=1, num_holdout=4, holdout_names=("a",)))
    data = build(settings)["data"].settings
    assert isinstance(data, DataSettings)
    assert set(data.cut({"a": "1", "b": "2", "c": "3"}).values()) == {"train"}


def test_more_folds_than_images_are_refused_before_a_stage_runs(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    phantom.write_dataset(tmp_path / "drive", num_train=6, num_test=2, height=48, width=52)
    for name, section in {
        "folds": {"num_folds": 9},
        "validation": {"num_folds": 2, "data": TINY["data"] | {"num_val": 3}},  # 3 images are in the other fold
        "source": {"num_folds": 9, "data": {"source": f"drive:{tmp_path / 'drive'}"}},
    }.items():
        config = write(tmp_path / f"{name}.yaml", **section)
        command = ("pipeline", "run", "cross-validate", "-c", str(config), "--runs", str(runs), "--dry-run")
        assert segkit_here(*command) == 2
    assert not runs.exists()


def test_images_that_only_another_recipe_sets_aside_do_not_count(tmp_path: Path) -> None:
    data = TINY["data"] | {"num_val": 1, "num_holdout": 6}
    config = write(tmp_path / "cv.yaml", data=data)
    command = ("-c", str(config), "--runs", str(tmp_path / "runs"), "--dry-run")
    assert segkit_here("pipeline", "run", "cross-validate", *command) == 0
    for num_holdout, code in ((4, 0), (5, 2)):
        training = {"model": TINY["teacher"], "data": data | {"num_holdout": num_holdout}}
        (tmp_path / "train.yaml").write_text(json.dumps(training), encoding="utf-8")
        assert segkit_here("pipeline", "run", "train", "-c", str(tmp_path / "train.yaml"), *command[2:]) == code


def test_several_networks_are_averaged_and_the_mean_is_scored_out_of_fold(tmp_path: Path, stages_here: None) -> None:
    members = {"other": TINY["teacher"] | {"seed_offset": 1}}
    config, runs = write(tmp_path / "cv.yaml", num_folds=2, members=members), tmp_path / "runs"
    assert segkit_here("pipeline", "run", "cross-validate", "-c", str(config), "--runs", str(runs)) == 0
    [folder], [verdict] = runs.glob("evaluate-*"), runs.glob("report-*/verdict.json")
    measured = read_json(folder / "measurements.json")[OUT_OF_FOLD]
    assert [name for name in measured if name != "second observer"] == ["model", "other", "ensemble"]
    for row in read_manifest(folder).rows:
        maps = [
            images.read_levels(folder / "predictions" / name / "probs" / f"{row.name}.png").astype(float)
            for name in ("model", "other", "ensemble")
        ]
        assert np.abs(maps[0] - maps[1]).max() > 10
        np.testing.assert_allclose(maps[2], (maps[0] + maps[1]) / 2, atol=1)
    for fold in read_json(folder / "folds-ensemble.json"):
        dice = pooled_dice(folder, fold["images"], fold["cut"], "ensemble")
        assert fold["dice"] == pytest.approx(dice)
    assert set(read_json(folder / "calibration.json")) == {"model", "other", "ensemble"}
    assert read_json(verdict)["ensemble"]["ensemble"] == "ensemble"
    assert "synthetic" not in read_json(verdict)["ensemble"]["sentence"]


def test_a_network_with_the_name_of_the_mean_is_refused(tmp_path: Path) -> None:
    config = write(tmp_path / "cv.yaml", members={"ensemble": TINY["teacher"]})
    assert segkit_here("pipeline", "show", "cross-validate", "-c", str(config)) == 2
