"""Names of trained models."""

import os
from pathlib import Path

import pytest

from pipelines.graph import Graph
from pipelines.results.model_names import find_model, with_named_weights
from pipelines.stage import Stage
from pipelines.stage_types import TRAIN
from segkit.core.errors import WeightsError
from segkit.core.files import write_json, write_text
from segkit.core.run_folder import REQUEST, write_done
from segkit.tasks.settings import TrainSettings
from segkit.weights import shipped_models


def write_model(
    runs: Path, stage: str, fingerprint: str, minute: int, val_dice: float | None, kind: str = "train"
) -> Path:
    """A finished stage with a card, without weights."""
    folder = runs / f"{stage}-{fingerprint}"
    write_text(folder / REQUEST, f"fingerprint: {fingerprint}")
    write_json(folder / "model.json", {"val_dice": val_dice})
    finished = f"2026-01-01T00:{minute:02d}:00+0000"
    write_done(folder, {"stage": stage, "type": kind, "fingerprint": fingerprint, "finished": finished, "outputs": {}})
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two teachers, a student and a GAN."""
    runs = tmp_path / "runs"
    write_model(runs, "teacher", "aa11", 1, 0.7)
    write_model(runs, "teacher", "aa22", 2, 0.6)
    write_model(runs, "student", "bb33", 3, None)
    write_model(runs, "gan", "cc44", 4, None, "gan")
    return runs


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("latest", "student-bb33"),
        ("best", "teacher-aa11"),
        ("teacher", "teacher-aa22"),
        ("teacher-aa1", "teacher-aa11"),
        ("stu", "student-bb33"),
        ("bb", "student-bb33"),
    ],
)
def test_a_name_stands_for_one_model(runs: Path, name: str, folder: str) -> None:
    assert find_model(name, runs).folder == runs / folder


def test_a_path_and_a_shipped_model_need_no_runs_folder(tmp_path: Path) -> None:
    assert find_model("vessels", tmp_path / "absent").folder == shipped_models()["vessels"]
    assert find_model(str(tmp_path), tmp_path / "absent").folder == tmp_path


def test_a_runs_folder_stands_for_its_best_model(runs: Path) -> None:
    assert find_model(str(runs), Path("absent")).folder == runs / "teacher-aa11"


def test_gans_have_names_of_their_own(runs: Path) -> None:
    assert find_model("latest", runs, "gan").folder == runs / "gan-cc44"
    with pytest.raises(WeightsError, match="holds gan-cc44"):
        find_model("teacher", runs, "gan")


@pytest.mark.parametrize("name", ["aa", "teacher-", "teacher-aa"])
def test_an_ambiguous_name_is_refused_with_the_candidates(runs: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="teacher-aa22, teacher-aa11"):
        find_model(name, runs)


@pytest.mark.parametrize(("name", "nearest"), [("vesels", "vessels"), ("techer", "teacher"), ("lastest", "latest")])
def test_a_misspelt_name_is_refused_with_the_nearest(runs: Path, name: str, nearest: str) -> None:
    with pytest.raises(WeightsError, match=f"did you mean .*'{nearest}'"):
        find_model(name, runs)


def test_first_weights_take_a_name_that_keeps_its_model(runs: Path) -> None:
    def stage(name: str) -> Graph:
        return Graph([Stage("model", TRAIN, TrainSettings(init_from=Path(name)))])

    named = with_named_weights(stage("student"), runs)["model"].settings
    assert named.init_from == runs / "student-bb33"
    for name in ("latest", "best", "teacher"):
        with pytest.raises(WeightsError):
            with_named_weights(stage(name), runs)
    assert os.fspath(with_named_weights(stage("a/b"), runs)["model"].settings.init_from) == "a/b"
