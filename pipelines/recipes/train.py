"""The recipe `train`: one network on the real images, scored on the images it was not trained on."""

from pydantic import model_validator

from pipelines.graph import Graph
from pipelines.recipes.base import Recipe, RecipeSettings, real_images_only, report_stage
from pipelines.stage import AnyStage, Stage
from pipelines.stage_types import DATA, EVALUATE, TRAIN, EvaluateSettings, ReportSettings, Roles
from segkit.tasks.settings import TrainSettings

NAME = "train"


class TrainRecipeSettings(RecipeSettings):
    """Everything `segkit pipeline run train` reads."""

    model: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings(title="Segmentation by one network")

    @model_validator(mode="after")
    def _real_images_only(self) -> "TrainRecipeSettings":
        real_images_only(self.model, "model")
        return self


def build(settings: TrainRecipeSettings) -> Graph:
    """Data, model, evaluate, report."""
    stages: list[AnyStage] = [
        Stage("data", DATA, settings.data),
        Stage("model", TRAIN, settings.model, {"data": "data"}),
        Stage("evaluate", EVALUATE, settings.evaluate, {"data": "data", "model": "model"}),
    ]
    return Graph([*stages, report_stage(NAME, settings.report, settings, stages, Roles(baseline="model"))])


RECIPE = Recipe(NAME, "one network on real images, evaluation, report", TrainRecipeSettings, build)
