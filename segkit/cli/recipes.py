"""What the commands about pipelines share: options, finding a recipe's settings, planning."""

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from pipelines import pipeline_run, synthetic_aug
from pipelines.graph import Graph
from pipelines.runner import Planned, plan
from pipelines.settings import SyntheticAugSettings
from pipelines.store import Store
from segkit.core.config import apply_overrides, read_yaml, validate
from segkit.core.errors import ConfigError, RequestError

RECIPES = {synthetic_aug.NAME: synthetic_aug}

CONFIGS = Path(__file__).parents[1] / "configs"
"""The settings files that are installed with segkit; in a checkout, a link to the top-level `configs`."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Resolved:
    """A recipe with its settings and its stages."""

    name: str
    source: str
    settings: SyntheticAugSettings
    graph: Graph
    overrides: tuple[str, ...] = ()
    """The settings given on the command line, as KEY=VALUE."""

    def plan(self, runs: Path, upto: str | None = None) -> list[Planned]:
        """Where each stage's result lies; needs the data to be there."""
        tags = pipeline_run.tags(self.name, self.settings)
        return plan(self.graph, self.settings.runtime, Store(runs), self.name, upto, tags)


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
            type=click.Path(path_type=Path),
            help="Settings file, or the name of one that `segkit pipeline list` lists; by default the recipe's own.",
        ),
    ):
        command = option(command)
    return command


def runs_option(command: F) -> F:
    """`--runs`."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        show_default=True,
        help="Folder of the results.",
    )(command)


def resolve(name: str, config: Path | None, overrides: Sequence[str], data: str | None) -> Resolved:
    """Read a recipe's settings and build its stages.

    Raises:
        RequestError: there is no such recipe or file, or a setting is wrong.
    """
    if name not in RECIPES:
        raise RequestError(f"there is no pipeline {name!r}; there are {', '.join(RECIPES)}")
    path = CONFIGS / f"{name}.yaml" if config is None else config_path(config)
    raw = read_yaml(path)
    _check_students(raw.get("students"), overrides)
    if overrides:
        raw = apply_overrides(raw, overrides, RECIPES[name].SETTINGS)
    if data is not None:
        raw = apply_overrides(raw, [f"data.source={json.dumps(data)}"])
    settings = validate(RECIPES[name].SETTINGS, raw, str(path), overrides)
    return Resolved(name, str(path), settings, RECIPES[name].build(settings), tuple(overrides))


def _check_students(students: Any, overrides: Sequence[str]) -> None:
    """A misspelt student's name in `--set` must not add a student: students are named by the file."""
    for override in overrides:
        keys = override.partition("=")[0].split(".")
        if isinstance(students, dict) and keys[0] == "students" and len(keys) > 2 and keys[1] not in students:
            raise ConfigError(f"--set {override!r}: there is no student {keys[1]!r}; there are {', '.join(students)}")


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
        close = difflib.get_close_matches(given.name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"shipped settings: {', '.join(names)}"
        raise ConfigError(f"--config {given}: there is no such file, and segkit ships no settings of that name; {hint}")
    return CONFIGS / f"{given.name}.yaml"


def shipped_configs() -> list[str]:
    """The names of the settings files that are installed with segkit."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))
