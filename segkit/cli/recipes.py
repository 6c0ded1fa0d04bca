"""What the commands about pipelines share: options, finding a recipe's settings, planning."""

import json
import sys
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
            "-c", "--config", type=click.Path(path_type=Path), help="Settings file; by default the recipe's own."
        ),
    ):
        command = option(command)
    return command


def runs_option(command: F) -> F:
    """`--runs`."""
    return click.option(
        "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where results lie."
    )(command)


def resolve(name: str, config: Path | None, overrides: Sequence[str], data: str | None) -> Resolved:
    """Read a recipe's settings and build its stages.

    Raises:
        RequestError: there is no such recipe or file, or a setting is wrong.
    """
    if name not in RECIPES:
        raise RequestError(f"there is no pipeline {name!r}; there are {', '.join(RECIPES)}")
    path = config or shipped_config(name)
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


def shipped_config(name: str) -> Path:
    """The settings file that comes with segkit: in the checkout, or where pip put it."""
    places = [Path(__file__).parents[2] / "configs", Path(sys.prefix) / "share" / "segkit" / "configs"]
    for place in places:
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    raise RequestError(f"the settings of {name!r} did not come with this installation; give a file with --config")
