"""Every settings file that is shipped."""

import functools
from pathlib import Path

import pytest

from pipelines.recipes import DEFAULT_RECIPE, RECIPES
from segkit.cli.recipes import CONFIGS as INSTALLED
from segkit.cli.recipes import Resolved, config_path, resolve, shipped_configs
from segkit.core.config import dump_yaml, parse_yaml, validate
from segkit.core.errors import ConfigError
from segkit.tasks.settings import TrainSettings
from tests.configs.commands import comments, parse

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
each = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@functools.cache
def resolved(path: Path) -> Resolved:
    """With the recipe that the commands at the head of the file name."""
    named = [parse(command)[1].get("name", DEFAULT_RECIPE) for command in comments(path.read_text())]
    return resolve(str(named[0]) if named else DEFAULT_RECIPE, path, (), None)


def trainings(path: Path) -> dict[str, TrainSettings]:
    graph = resolved(path).graph
    return {stage.name: stage.settings for stage in graph if isinstance(stage.settings, TrainSettings)}


def test_there_are_a_demo_a_recipe_for_cpus_and_the_paper_s() -> None:
    assert {"demo", "drive-cpu", "synthetic-aug"} <= {path.stem for path in CONFIGS}


@each
def test_it_makes_a_pipeline_from_data_to_scores(path: Path) -> None:
    names = [stage.name for stage in resolved(path).graph]
    assert names[0] == "data"
    assert any(name.split("-")[0] == "evaluate" for name in names)


@each
def test_one_that_tests_synthetic_images_has_controls_and_a_report(path: Path) -> None:
    names = [stage.name for stage in resolved(path).graph]
    if any(name.split("-")[0] == "samples" for name in names):
        assert names[-1] == "report"
        assert any("-control" in name for name in names)


@each
def test_with_every_default_spelt_out_it_says_the_same(path: Path) -> None:
    settings = resolved(path).settings
    assert validate(type(settings), parse_yaml(dump_yaml(settings), "dumped"), "dumped") == settings


@each
def test_its_head_says_what_it_is_for_and_the_commands_there_can_be_typed(path: Path) -> None:
    head = path.read_text().partition("\nruntime:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert len(head.split()) > 20
    for command in comments(head):
        names, params = parse(command)
        assert names in (["pipeline", "run"], ["gan", "train"])
        given = params["config"]
        assert given is None or config_path(Path(str(given))).samefile(path)
        overrides = params["overrides"]
        assert isinstance(overrides, tuple)
        resolve(str(params.get("name", DEFAULT_RECIPE)), path, overrides, None)


@each
def test_its_steps_of_the_learning_rate_lie_inside_their_phases(path: Path) -> None:
    for name, training in trainings(path).items():
        for phase in training.phases:
            assert all(0 < step < phase.epochs for step in phase.schedule.step_epochs), name
            assert phase.schedule.warmup_epochs < phase.epochs, name


@each
def test_its_crops_and_squares_fit_the_network(path: Path) -> None:
    for name, training in trainings(path).items():
        assert (training.geometry.size or 0) % training.model.stride == 0, name
        for phase in training.phases:
            assert (phase.crop_size or 0) % training.model.stride == 0, name


@each
def test_its_validations_come_before_its_phases_end(path: Path) -> None:
    for name, training in trainings(path).items():
        assert all(phase.val_interval_epochs <= phase.epochs for phase in training.phases), name


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_without_config_takes_the_shipped_settings_of_its_name_or_else_its_defaults(name: str) -> None:
    settings = resolve(name, None, (), None).settings
    shipped = (INSTALLED / f"{name}.yaml").is_file()
    assert settings == (resolve(name, Path(name), (), None).settings if shipped else RECIPES[name].settings())


@each
def test_its_bare_name_is_enough(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path.stem in shipped_configs()
    assert config_path(Path(path.stem)).samefile(path)


def test_a_file_of_the_user_s_comes_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()  # a folder is no settings file
    assert config_path(Path("demo")).samefile(next(path for path in CONFIGS if path.stem == "demo"))
    Path("drive-cpu").write_text("{}")
    assert config_path(Path("drive-cpu")).samefile(tmp_path / "drive-cpu")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("dmo", "did you mean 'demo'"),
        ("zzz", "demo, drive-best, "),
        ("demo.yaml", "`-c demo`"),
        ("configs/demo.yaml", "`-c demo`"),
        ("mine.yaml", "cannot read settings file mine.yaml"),
        ("mine/demo", "cannot read settings file mine/demo"),
    ],
)
def test_settings_that_are_not_there_are_refused(
    given: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=hint):
        resolve("synthetic-aug", Path(given), (), None)
