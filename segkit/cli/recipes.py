"""Options of the pipeline commands, and a recipe's settings and stages."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_origin

import click

from pipelines.execution.runner import Planned, plan
from pipelines.graph import Graph
from pipelines.recipes import DEFAULT_RECIPE, RECIPES
from pipelines.recipes.base import Recipe, RecipeSettings
from pipelines.results import pipeline_run
from pipelines.results.model_names import with_named_weights
from segkit.cli import completion
from segkit.cli.options import PATH, F
from segkit.core.config import apply_overrides, read_yaml, validate
from segkit.core.errors import ConfigError, RequestError
from segkit.core.names import hint

CONFIGS = Path(__file__).parents[1] / "configs"
"""The settings files that are installed with segkit; in a checkout, a link to the top-level `configs`."""


@dataclass(frozen=True)
class Resolved:
    """A recipe with its settings and its stages."""

    name: str
    source: str
    settings: RecipeSettings
    graph: Graph
    overrides: tuple[str, ...] = ()
    """The settings given on the command line, as KEY=VALUE."""

    def plan(self, runs: Path, upto: str | None = None) -> list[Planned]:
        """The folder of each stage's result; the data must exist and suffice."""
        RECIPES[self.name].check(self.settings)
        tags = pipeline_run.tags(self.name, self.settings, self.graph)
        graph = with_named_weights(self.graph, runs)
        return plan(graph, self.settings.runtime, runs, self.name, upto, tags)


def settings_options(command: F) -> F:
    """`--config`, `--set` and `--data`."""
    for option in (
        click.option("--data", metavar="NAME:DIR", help="The data set, as in drive:/data/DRIVE; or `phantom`."),
        click.option(
            "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override one setting, as in gan.kimg=200."
        ),
        click.option(
            "-c",
            "--config",
            type=PATH,
            multiple=True,
            callback=_single,
            shell_complete=completion.configs,
            help="Settings file, or the name of one that `segkit pipeline list` lists; by default the recipe's own.",
        ),
    ):
        command = option(command)
    return command


def _single(ctx: click.Context, param: click.Parameter, paths: tuple[Path, ...]) -> Path | None:
    if len(paths) > 1:
        raise click.BadParameter("give one settings file; --set changes single settings of it", ctx, param)
    return paths[0] if paths else None


def recipe_option(command: F) -> F:
    """`--recipe`, for commands that run a part of one."""
    return click.option(
        "--recipe",
        default=DEFAULT_RECIPE,
        show_default=True,
        shell_complete=completion.recipes,
        help="A recipe that `segkit pipeline list` lists.",
    )(command)


def resolve(name: str, config: Path | None, overrides: Sequence[str], data: str | None) -> Resolved:
    """Read a recipe's settings and build its stages.

    Without `config`, the shipped settings of the recipe's name are read; where there are none, all are defaults.

    Raises:
        RequestError: there is no such recipe or file, or a setting is wrong.
    """
    if name not in RECIPES:
        raise RequestError(f"there is no recipe {name!r}; {_recipe_hint(name)}")
    recipe = RECIPES[name]
    path = config_path(config or CONFIGS / f"{name}.yaml")
    has_file = config is not None or path.is_file()
    raw = read_yaml(path) if has_file else {}
    if config is not None:
        _check_recipe(recipe, raw, path)
    _check_named_entries(recipe.settings, raw, overrides)
    if overrides:
        raw = apply_overrides(raw, overrides, recipe.settings)
    if data is not None:
        raw = apply_overrides(raw, [f"data.source={json.dumps(data)}"])
    source = str(path) if has_file else name
    settings = validate(recipe.settings, raw, source, overrides)
    return Resolved(name, source, settings, recipe.build(settings), tuple(overrides))


def _check_recipe(recipe: Recipe[RecipeSettings], raw: Mapping[str, object], path: Path) -> None:
    """Raise if a settings file has sections that the recipe lacks and another recipe has."""
    if not raw.keys() <= recipe.settings.model_fields.keys() and (fitting := _recipe_of(path, raw)):
        raise ConfigError(
            f"{path}: this file is for the recipe {fitting}, not for {recipe.name}; "
            f"write {fitting} as the recipe's name and keep the other options"
        )


def _recipe_of(path: Path, raw: Mapping[str, object]) -> str | None:
    """A recipe that has all sections of a settings file: the one of the first command in its comments, if that has."""
    fitting = [name for name, recipe in RECIPES.items() if raw.keys() <= recipe.settings.model_fields.keys()]
    command = re.search(r"^#.*segkit pipeline run ([\w-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return command[1] if command and command[1] in fitting else next(iter(fitting), None)


def _recipe_hint(name: str) -> str:
    """The nearest recipes, or the command where the name is that of shipped settings."""
    if name not in shipped_configs():
        return hint(name, RECIPES)
    path = CONFIGS / f"{name}.yaml"
    return f"{name!r} is a settings file: segkit pipeline run {_recipe_of(path, read_yaml(path))} -c {name}"


def _check_named_entries(cls: type[RecipeSettings], raw: Mapping[str, object], overrides: Sequence[str]) -> None:
    """Raise where `--set` would add an entry to a section of names, such as a student, by a misspelt name."""
    for override in overrides:
        section, *keys = override.partition("=")[0].split(".")
        entries, field = raw.get(section), cls.model_fields.get(section)
        if field is None or get_origin(field.annotation) is not dict or not isinstance(entries, dict):
            continue
        if len(keys) > 1 and keys[0] not in entries:
            raise ConfigError(f"--set {override!r}: {section} has no {keys[0]!r}; {hint(keys[0], entries)}")


def config_path(given: Path) -> Path:
    """The settings file that `--config` names: a file, or a shipped one by its bare name, as in `demo`.

    Raises:
        ConfigError: there is no such file, and it is not the name of shipped settings.
    """
    if given.is_file():
        return given
    names = shipped_configs()
    if given.suffix == ".yaml" and given.stem in names:
        raise ConfigError(f"--config {given}: there is no such file; `-c {given.stem}` uses the one that segkit ships")
    if len(given.parts) > 1 or given.suffix:
        return given  # reading it will fail
    if given.name not in names:
        nearest = hint(given.name, names)
        raise ConfigError(
            f"--config {given}: there is no such file, and segkit ships no settings of this name; {nearest}"
        )
    return CONFIGS / f"{given.name}.yaml"


def shipped_configs() -> list[str]:
    """The names of the settings files that are installed with segkit."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))
