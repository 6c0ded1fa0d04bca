"""The recipe `compare-models`: several networks on one split of the data, tested against the first of them."""

from pydantic import Field, model_validator

from pipelines.graph import Graph
from pipelines.recipes.base import Recipe, RecipeSettings, real_images_only, report_stage, same_names
from pipelines.stage import AnyStage, Stage
from pipelines.stage_types import DATA, EVALUATE, TRAIN, EvaluateSettings, ReportSettings, Roles, StageName
from segkit.models.settings import LittleWNetSettings, SAUNetSettings
from segkit.tasks.settings import TrainSettings

NAME = "compare-models"
RESERVED = ("data", "evaluate", "report")


def _small_networks() -> dict[str, TrainSettings]:
    return {
        "sa-unet": TrainSettings(model=SAUNetSettings()),
        "little-wnet": TrainSettings(model=LittleWNetSettings()),
    }


class CompareModelsSettings(RecipeSettings):
    """Everything `segkit pipeline run compare-models` reads."""

    models: dict[StageName, TrainSettings] = Field(default_factory=_small_networks, min_length=2)
    """Each a name and its training. The first one is the baseline that the others are tested against."""
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings(title="Comparison of networks")

    @model_validator(mode="after")
    def _trainings_fit(self) -> "CompareModelsSettings":
        for name, training in self.models.items():
            if name in RESERVED:
                raise ValueError(f"a model cannot be called {name!r}, which is a stage of the recipe; rename it")
            real_images_only(training, f"models.{name}")
        return self


def build(settings: CompareModelsSettings) -> Graph:
    """Data, the models, evaluate, report."""
    baseline, *others = settings.models
    stages: list[AnyStage] = [
        Stage("data", DATA, settings.data),
        *(Stage(name, TRAIN, training, {"data": "data"}) for name, training in settings.models.items()),
        Stage("evaluate", EVALUATE, settings.evaluate, {"data": "data", **same_names(settings.models)}),
    ]
    roles = Roles(baseline=baseline, compared=tuple(others))
    return Graph([*stages, report_stage(NAME, settings.report, settings, stages, roles)])


RECIPE = Recipe(NAME, "several networks on one split, one table, paired tests", CompareModelsSettings, build)
