"""The recipe `cross-validate`: every labelled image is scored by a network that it neither trained nor validated."""

from pydantic import Field, model_validator

from pipelines.graph import Graph
from pipelines.recipes.base import (
    Recipe,
    RecipeSettings,
    check_folds,
    fold_stage,
    real_images_only,
    report_stage,
    same_names,
    uncut,
)
from pipelines.stage import AnyStage, Stage
from pipelines.stage_types import (
    DATA,
    ENSEMBLE_OF_FOLDS,
    EVALUATE_FOLDS,
    MODEL,
    TRAIN,
    EvaluateSettings,
    ReportSettings,
    Roles,
    StageName,
)
from segkit.tasks.settings import TrainSettings

NAME = "cross-validate"


class CrossValidateSettings(RecipeSettings):
    """Everything `segkit pipeline run cross-validate` reads.

    All labelled images but the data set's own test images are cut into folds by patient, in the order of
    `data.split_seed`. `data.num_val` images of the other folds choose a fold's checkpoint; `data.num_holdout`
    and images by name are not used.
    """

    num_folds: int = Field(5, ge=2)
    """Networks to train; each leaves the images of one fold out."""
    model: TrainSettings = TrainSettings()
    members: dict[StageName, TrainSettings] = Field(default_factory=dict)
    """Further networks by name, trained in the same folds. The mean of their probabilities and those of `model` is
    scored as `ensemble`; its threshold in each fold also comes from the other folds."""
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings(title="Cross-validation")

    @model_validator(mode="after")
    def _folds_fit(self) -> "CrossValidateSettings":
        for name, member in {MODEL: self.model, **self.members}.items():
            real_images_only(member, name)
        if taken := [name for name in self.members if name in (MODEL, ENSEMBLE_OF_FOLDS) or name.startswith("fold")]:
            raise ValueError(f"members.{taken[0]}: the recipe uses this name itself; choose another one")
        if self.data.num_folds is not None:
            raise ValueError("data.num_folds makes one fold of the recipe train; here set num_folds at the top level")
        return self


def build(settings: CrossValidateSettings) -> Graph:
    """Data; a cut and the networks for each fold; evaluate; report."""
    stages: list[AnyStage] = [Stage("data", DATA, uncut(settings.data))]
    inputs: dict[str, str] = {}
    for number in range(settings.num_folds):
        fold = fold_stage(settings.data, settings.num_folds, number)
        networks = {MODEL: settings.model, **settings.members}
        models = {f"{name}-{number}": training for name, training in networks.items()}
        stages += [fold, *(Stage(name, TRAIN, training, {"data": fold.name}) for name, training in models.items())]
        inputs |= same_names((fold.name, *models))
    stages.append(Stage("evaluate", EVALUATE_FOLDS, settings.evaluate, inputs))
    roles = Roles(baseline=MODEL, ensemble=ENSEMBLE_OF_FOLDS if settings.members else None)
    return Graph([*stages, report_stage(NAME, settings.report, settings, stages, roles)])


RECIPE = Recipe(NAME, "k folds by patient, pooled out-of-fold scores", CrossValidateSettings, build, check_folds)
