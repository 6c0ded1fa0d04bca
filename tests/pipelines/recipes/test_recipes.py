"""Recipes are guests: one file and one line in the table make one, and nothing else names them."""

import json
import re
from pathlib import Path

import pytest

from pipelines import recipes
from pipelines.recipes import RECIPES
from segkit.cli.recipes import resolve
from segkit.core.files import read_json
from segkit.core.run_folder import read_done
from tests.pipelines import another_recipe
from tests.pipelines.tiny import TINY, segkit_here

ROOT = Path(__file__).parents[3]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Options of the recipe `two`, whose line in the table is added here."""
    monkeypatch.setitem(RECIPES, another_recipe.RECIPE.name, another_recipe.RECIPE)
    config = tmp_path / "two.yaml"
    config.write_text(json.dumps({key: TINY[key] for key in ("runtime", "data")} | {"network": TINY["teacher"]}))
    return ["-c", str(config), "--runs", str(tmp_path / "runs")]


def test_a_recipe_is_one_file_and_one_line_in_the_table(
    two: list[str], tmp_path: Path, stages_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segkit_here("pipeline", "list") == 0
    assert "two: two networks and the better one" in capsys.readouterr().out
    assert segkit_here("pipeline", "run", "two", *two) == 0
    assert segkit_here("pipeline", "status", "two", *two) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[-4:]] == [
        [name, "done"] for name in ("data", "one", "two", "better")
    ]
    better = next((tmp_path / "runs").glob("better-*"))
    assert read_json(better / "selection.json")["val_dice"].keys() == {"one", "two"}


def test_the_parts_of_any_recipe_have_commands(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def planned(*command: str) -> list[str]:
        assert segkit_here(*command, "--recipe", "two", *two, "--dry-run") == 0
        return [line.split()[1].rstrip(":") for line in capsys.readouterr().out.splitlines()]

    assert planned("train") == ["data", "one"]
    assert planned("train", "--stage", "two") == ["data", "two"]
    assert segkit_here("gan", "train", "--recipe", "two", *two) == 2
    assert "no stage is of the type 'gan'; stages are data, one, two, better" in capsys.readouterr().err


def test_a_stage_of_any_recipe_runs_by_itself(two: list[str], tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert segkit_here("stage", "data", "--recipe", "two", "-c", two[1], "--out", str(out)) == 0
    done = read_done(out)
    assert done is not None
    assert done["fingerprint"] == resolve("two", Path(two[1]), (), None).plan(tmp_path)[0].fingerprint


@pytest.mark.parametrize("module", recipes.MODULES)
def test_no_code_names_a_recipe_but_its_own_file_and_the_table(module: str) -> None:
    recipe = next(recipe for recipe in RECIPES.values() if recipe.build.__module__.endswith(f".{module}"))
    names = [
        recipe.settings.__name__,
        rf"recipes[. ]+(import )?{module}\b",
        *([recipe.name] if "-" in recipe.name else []),
    ]
    pattern = re.compile("|".join(names))
    allowed = {ROOT / "pipelines" / "recipes" / name for name in ("__init__.py", f"{module}.py")}
    allowed.add(ROOT / "pipelines" / "gpu_bench" / "steps.py")  # runs commands as a user types them
    files = {path for folder in ("segkit", "gan", "pipelines") for path in (ROOT / folder).rglob("*.py")} - allowed
    assert [path.relative_to(ROOT).as_posix() for path in sorted(files) if pattern.search(path.read_text())] == []


def test_the_recipe_train_scores_one_network_and_runs_once(
    tmp_path: Path, stages_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config, runs = tmp_path / "train.yaml", tmp_path / "runs"
    settings = {key: TINY[key] for key in ("runtime", "data", "evaluate")} | {"model": TINY["teacher"]}
    config.write_text(json.dumps(settings))
    args = ["pipeline", "run", "train", "-c", str(config), "--runs", str(runs)]
    assert segkit_here(*args) == 0
    capsys.readouterr()
    [measured] = [read_json(path) for path in runs.glob("evaluate-*/measurements.json")]
    assert set(measured) == {"test", "val"}
    scores = [score for score in measured["test"]["model"] if score["metric"] == "dice"]
    assert {score["n"] for score in scores} == {2}
    assert all(0 < score["value"] < 1 for score in scores)
    [page] = [path.read_text(encoding="utf-8") for path in runs.glob("report-*/report.html")]
    assert f"{scores[0]['value']:.4f}" in page
    assert segkit_here(*args) == 0
    assert [line.split(": ")[1].split()[0] for line in capsys.readouterr().out.splitlines()[:4]] == ["done"] * 4


def test_the_recipe_train_has_no_synthetic_images_to_train_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps({"data": TINY["data"], "model": {"phases": [{"data": "mixed"}]}}))
    assert segkit_here("pipeline", "show", "train", "-c", str(config)) == 2
    assert "set data: real" in capsys.readouterr().err
