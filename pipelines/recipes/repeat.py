"""The recipe `repeat`: any recipe with several seeds, folds and settings, pooled into one verdict.

A cell is one run of the recipe. Stages that are the same in several cells are in the graph once.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from pipelines.graph import Graph
from pipelines.recipes.base import (
    Recipe,
    RecipeSettings,
    check_folds,
    fold_stage,
    recorded_settings,
    same_names,
    uncut,
)
from pipelines.stage import AnyStage, Stage
from pipelines.stage_types import DATA, POOL, CellRecord, PoolRequest, PoolSettings, ReportRequest
from segkit.core.config import apply_overrides, validate
from segkit.core.errors import ConfigError
from segkit.core.files import sha256_json

NAME = "repeat"
SECTIONS = tuple(RecipeSettings.model_fields)
"""Sections that stand beside `settings`, not in it."""


class RepeatSettings(RecipeSettings):
    """Everything `segkit pipeline run repeat` reads; `runtime` and `data` are those of every cell."""

    recipe: str = "train"
    """The recipe to repeat."""
    settings: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Its sections other than `runtime` and `data`, as in its own settings file."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    """A cell for each, in place of `runtime.seed`. All seeds share the images and their splits."""
    num_folds: int | None = Field(None, ge=2)
    """Repeat for each fold of a cross-validation by patient; `data.num_holdout` and images by name are then not used.
    None is the split of `data`."""
    grid: Mapping[str, tuple[JsonValue, ...] | Mapping[str, Mapping[str, JsonValue]]] = Field(default_factory=dict)
    """Settings that vary over the cells, all combinations. Either a setting of the recipe and its values, as in
    `samples.truncation_psi: [0.5, 1.0]`, or a name and its choices, each with the settings that it changes."""
    pool: PoolSettings = PoolSettings()

    @model_validator(mode="after")
    def _cells_are_distinct(self) -> "RepeatSettings":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: each seed once")
        if self.data.num_folds is not None and self.num_folds is not None:
            raise ValueError("data.num_folds and num_folds both cut folds; set num_folds at the top level only")
        if twice := set(SECTIONS) & set(self.settings):
            raise ValueError(f"settings.{min(twice)}: set {min(twice)} at the top level, where it is for all cells")
        keys = [key for axis, values in self.grid.items() for _, changed in _choices(axis, values) for key in changed]
        if fixed := [key for key in keys if key.partition(".")[0] == "runtime"]:
            raise ValueError(f"grid: {fixed[0]} is the same in all cells; `seeds` varies the seed")
        if empty := [axis for axis, values in self.grid.items() if not values]:
            raise ValueError(f"grid.{empty[0]} has no values")
        return self


@dataclass(frozen=True)
class _Cell:
    """One run of the recipe."""

    seed: int
    fold: int | None
    values: Mapping[str, str]
    """Its choice on each axis of the grid."""
    changes: Mapping[str, JsonValue]
    """Settings of the recipe by dotted key."""

    @property
    def marks(self) -> dict[str, str]:
        """What distinguishes it from the other cells, in the form of stage names."""
        axes = {axis: _slug(f"{axis.rpartition('.')[2]}-{value}") for axis, value in self.values.items()}
        fold = {} if self.fold is None else {"fold": f"fold-{self.fold}"}
        return {**axes, **fold, "seed": f"seed-{self.seed}"}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _cells(settings: RepeatSettings) -> Iterator[_Cell]:
    axes = [[(axis, *choice) for choice in _choices(axis, values)] for axis, values in settings.grid.items()]
    folds = range(settings.num_folds) if settings.num_folds is not None else (None,)
    for chosen in product(*axes):
        values = {axis: label for axis, label, _ in chosen}
        changes = {key: value for _, _, changed in chosen for key, value in changed.items()}
        for seed, fold in product(settings.seeds, folds):
            yield _Cell(seed, fold, values, changes)


def _choices(
    axis: str, values: Sequence[JsonValue] | Mapping[str, Mapping[str, JsonValue]]
) -> list[tuple[str, Mapping[str, JsonValue]]]:
    """The label and the changed settings of each choice on an axis."""
    if isinstance(values, Mapping):
        return list(values.items())
    return [(value if isinstance(value, str) else json.dumps(value), {axis: value}) for value in values]


def build(settings: RepeatSettings) -> Graph:
    """The stages of all cells, each once, and the report that pools them.

    Raises:
        ConfigError: there is no such recipe, or the settings of a cell do not fit it.
    """
    cells = list(_cells(settings))
    merged = _Merged(cells)
    resolved = [_settings(settings, cell) for cell in cells]
    reports = [merged.add(cell, _stages(settings, cell, own)) for cell, own in zip(cells, resolved, strict=True)]
    stages, names = merged.named()
    records = [
        CellRecord(
            name=" ".join(cell.marks.values()),
            seed=cell.seed,
            fold=cell.fold,
            values=cell.values,
            stages={inner: names[key] for inner, key in inner_stages.items()},
        )
        for cell, inner_stages in zip(cells, reports, strict=True)
    ]
    first = next(stage.settings for stage in stages if isinstance(stage.settings, ReportRequest))
    request = PoolRequest(
        pool=settings.pool, pipeline=recorded_settings(settings), cells=tuple(records), roles=first.roles
    )
    inputs = same_names(stage.name for stage in stages)
    return Graph([*stages, Stage("report", POOL, request, inputs, skips_failed_inputs=True)])


def _settings(settings: RepeatSettings, cell: _Cell) -> RecipeSettings:
    """The settings of the recipe in a cell."""
    from pipelines.recipes import RECIPES  # the table loads this module

    if settings.recipe not in RECIPES or settings.recipe == NAME:
        known = ", ".join(name for name in RECIPES if name != NAME)
        raise ConfigError(f"recipe = {settings.recipe!r}; expected one of {known}")
    recipe = RECIPES[settings.recipe].settings
    raw: dict[str, object] = copy.deepcopy(dict(settings.settings))
    raw["data"] = settings.data.model_dump(mode="json")
    raw["runtime"] = settings.runtime.model_dump(mode="json") | {"seed": cell.seed}
    overrides = [f"{key}={json.dumps(value)}" for key, value in cell.changes.items()]
    raw = apply_overrides(raw, overrides, recipe)
    return validate(recipe, raw, f"settings of {settings.recipe} ({', '.join(cell.marks.values())})")


def _stages(settings: RepeatSettings, cell: _Cell, own: RecipeSettings) -> list[AnyStage]:
    """The recipe's stages in a cell. The data set keeps the seed of `runtime`, so that all cells share it."""
    from pipelines.recipes import RECIPES

    built = list(RECIPES[settings.recipe].build(own))
    data = [stage.name for stage in built if stage.type is DATA]
    if not any(isinstance(stage.settings, ReportRequest) for stage in built):
        raise ConfigError(f"recipe = {settings.recipe!r} has no report to pool")
    if cell.fold is None:
        return [replace(stage, seed=None if stage.name in data else cell.seed) for stage in built]
    if "fold-0" in [stage.name for stage in built]:
        raise ConfigError(f"recipe = {settings.recipe!r} cuts folds itself; leave num_folds away")
    assert settings.num_folds is not None
    fold = fold_stage(own.data, settings.num_folds, cell.fold)
    stages: list[AnyStage] = []
    for stage in built:
        if stage.name in data:
            stages += [replace(stage, settings=uncut(own.data)), fold]
        else:
            inputs = {key: fold.name if name in data else name for key, name in stage.inputs.items()}
            stages.append(replace(stage, inputs=inputs, seed=cell.seed))
    return stages


class _Merged:
    """The stages of several cells without repetition. A name contains the marks that all cells of a stage share."""

    def __init__(self, cells: Sequence[_Cell]) -> None:
        self.cells = cells
        self.stages: dict[str, AnyStage] = {}
        """By identity, which the name does not change; inputs are identities too."""
        self.users: dict[str, list[_Cell]] = {}

    def add(self, cell: _Cell, stages: Sequence[AnyStage]) -> dict[str, str]:
        """The identity of each of the cell's stages, by its name in the recipe."""
        keys: dict[str, str] = {}
        for stage in stages:
            inputs = {name: keys[source] for name, source in stage.inputs.items()}
            after = tuple(keys[name] for name in stage.after)
            key = sha256_json([stage.type.name, stage.settings.model_dump(mode="json"), stage.seed, inputs, after])
            keys[stage.name] = key
            self.stages.setdefault(key, replace(stage, inputs=inputs, after=after))
            self.users.setdefault(key, []).append(cell)
        return keys

    def named(self) -> tuple[list[AnyStage], dict[str, str]]:
        """The stages, and their names by identity."""
        names: dict[str, str] = {}
        for key, stage in self.stages.items():
            names[key] = self._name(stage.name, self.users[key], set(names.values()))
        stages = [
            replace(
                stage,
                name=names[key],
                inputs={name: names[source] for name, source in stage.inputs.items()},
                after=tuple(names[source] for source in stage.after),
            )
            for key, stage in self.stages.items()
        ]
        return stages, names

    def _name(self, name: str, users: Sequence[_Cell], taken: set[str]) -> str:
        varying = {kind for kind in self.cells[0].marks if len({cell.marks[kind] for cell in self.cells}) > 1}
        shared = {kind for kind in varying if len({cell.marks[kind] for cell in users}) == 1}
        for kinds in (shared, varying):
            marks = [mark for kind, mark in users[0].marks.items() if kind in kinds and mark != name]
            named = "-".join([name, *marks])
            if named not in taken:
                return named
        raise ConfigError(f"two cells are called {named!r}; give the choices of the grid other names")


RECIPE = Recipe(
    NAME, "any recipe over seeds, folds and settings, pooled into one verdict", RepeatSettings, build, check_folds
)
