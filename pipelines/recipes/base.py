"""What every recipe has: settings with `runtime` and `data`, a graph made of them, and a report at its end."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import JsonValue

from pipelines.graph import Graph
from pipelines.stage import AnyStage, Stage
from pipelines.stage_types import FOLD, REPORT, FoldSettings, GraphNode, ReportRequest, ReportSettings, Roles
from segkit.core.config import Settings
from segkit.data.settings import DataSettings
from segkit.tasks.settings import RuntimeSettings, TrainSettings


class RecipeSettings(Settings):
    """The sections that every recipe has."""

    runtime: RuntimeSettings = RuntimeSettings()
    data: DataSettings = DataSettings()


R = TypeVar("R", bound=RecipeSettings)


@dataclass(frozen=True)
class Recipe(Generic[R]):
    """A whole experiment under the name that `segkit pipeline run` takes."""

    name: str
    summary: str
    """One line for `segkit pipeline list`."""
    settings: type[R]
    build: Callable[[R], Graph]
    """The stages that the settings ask for; raises `ConfigError` where they do not fit together."""
    check: Callable[[R], None] = lambda settings: None
    """Raises `RequestError` where the data set does not suffice; called before anything runs."""


class WithFolds(Protocol):
    """Settings of a recipe that can divide its data set into folds."""

    @property
    def data(self) -> DataSettings: ...

    @property
    def num_folds(self) -> int | None: ...


def check_folds(settings: WithFolds) -> None:
    """Raise DatasetError if the data set has too few patients for the folds, if any, as the stages `fold` would."""
    from segkit.data import readers, splits

    data, num_folds = settings.data, settings.num_folds
    if num_folds is None or data.source is None:  # the stage `data` refuses the latter
        return
    groups = data.phantom.training_groups
    if data.source != "phantom":
        rows = readers.open_dataset(data.source, data.group_pattern).rows
        groups = {row.name: row.group for row in rows if row.reference and readers.part_of(row) == "training"}
    for fold in range(num_folds if groups else 0):  # without labels, the stages `fold` give the reason
        splits.leave_fold_out(groups, num_folds, fold, data.num_val, data.split_seed)


def real_images_only(training: TrainSettings, section: str) -> None:
    """Raise ValueError if a phase draws synthetic images, which the recipe does not make."""
    if any(phase.data != "real" for phase in training.phases):
        raise ValueError(f"the recipe makes no synthetic images; set data: real in the phases of {section}")


def uncut(data: DataSettings) -> DataSettings:
    """The settings of a data set that folds alone divide."""
    return data.model_copy(update={"num_val": 0, "val_names": (), "num_holdout": 0, "holdout_names": ()})


def fold_stage(data: DataSettings, num_folds: int, number: int) -> Stage[FoldSettings]:
    """The stage `fold-<number>`, which cuts the images of the stage `data` for one fold."""
    cut = FoldSettings(num_folds=num_folds, fold=number, num_val=data.num_val, split_seed=data.split_seed)
    return Stage(f"fold-{number}", FOLD, cut, {"data": "data"})


def same_names(stages: Iterable[str]) -> dict[str, str]:
    """Inputs under the names of the stages that make them."""
    return {stage: stage for stage in stages}


def recorded_settings(settings: RecipeSettings) -> dict[str, JsonValue]:
    """The settings that a report records: without the place of the data and what cannot change a result."""
    resolved = settings.model_dump(mode="json")
    resolved["runtime"] = settings.runtime.identity()
    resolved["data"].pop("source")
    return resolved


def report_stage(
    recipe: str, report: ReportSettings, settings: RecipeSettings, stages: Sequence[AnyStage], roles: Roles
) -> Stage[ReportRequest]:
    """The last stage of a recipe, which reads all others."""
    request = ReportRequest(
        report=report,
        pipeline=recorded_settings(settings),
        graph=tuple(GraphNode(name=stage.name, type=stage.type.name, inputs=dict(stage.inputs)) for stage in stages),
        roles=roles,
        recipe=recipe,
    )
    return Stage("report", REPORT, request, same_names(stage.name for stage in stages))
