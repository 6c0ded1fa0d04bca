"""The recipe `synthetic-aug`: does training on GAN-made, pseudo-labelled fundi beat training on the real ones alone?"""

from pydantic import Field, model_validator

from pipelines.graph import Graph
from pipelines.recipes.base import Recipe, RecipeSettings, report_stage, same_names
from pipelines.stage import AnyStage, Stage
from pipelines.stage_types import (
    DATA,
    ENSEMBLE,
    EVALUATE,
    FIDELITY,
    GAN,
    PSEUDO_LABEL,
    SAMPLE,
    SELECT,
    TRAIN,
    EnsembleSettings,
    EvaluateSettings,
    FidelitySettings,
    GanStageSettings,
    PseudoLabelSettings,
    ReportSettings,
    Roles,
    SampleSettings,
    SelectSettings,
    StageName,
)
from segkit.core.config import Settings
from segkit.core.errors import ConfigError
from segkit.tasks.settings import PhaseSettings, TrainSettings

NAME = "synthetic-aug"


class ControlSettings(Settings):
    """The student's training without synthetic images: same steps, augmentation and schedule."""

    enabled: bool = True
    """Without a control the report can give no verdict."""
    ensemble: bool = False
    """Also combine the controls like the students, with the teacher if it is a member: the control of the ensemble."""


def _papers_student() -> dict[str, TrainSettings]:
    return {"synthetic-first": TrainSettings(phases=(PhaseSettings(data="synthetic"), PhaseSettings(data="real")))}


class SyntheticAugSettings(RecipeSettings):
    """Everything `segkit pipeline run synthetic-aug` reads."""

    teacher: TrainSettings = TrainSettings()
    gan: GanStageSettings = GanStageSettings()
    samples: SampleSettings = SampleSettings()
    fidelity: FidelitySettings = FidelitySettings()
    pseudo_labels: PseudoLabelSettings = PseudoLabelSettings()
    students: dict[StageName, TrainSettings] = Field(default_factory=_papers_student, min_length=1)
    """Each a name and its training; a control is trained beside each. By default the paper's: synthetic, then real."""
    control: ControlSettings = ControlSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings(title="Do synthetic fundi help?")
    rounds: int = Field(1, ge=1)
    """How many times to repeat the stages from `gan` to the students; the best model on validation is the next teacher,
    the paper's step 5."""

    @model_validator(mode="after")
    def _names_fit(self) -> "SyntheticAugSettings":
        if any(phase.data != "real" for phase in self.teacher.phases):
            raise ValueError("the teacher trains on real images only; set data: real in its phases")
        if self.data.num_folds is None and self.data.num_val == 0:
            raise ValueError("the ensemble's rule is chosen on validation images; set data.num_val to at least 1")
        unknown = set(self.ensemble.members) - {"teacher", *self.students}
        if unknown:
            known = ", ".join(["teacher", *self.students])
            raise ValueError(f"ensemble.members names {', '.join(sorted(unknown))}; there are {known}")
        return self


def build(settings: SyntheticAugSettings) -> Graph:
    """The stages these settings ask for; the first round's have plain names, later ones end in `-r2`, `-r3`, ...

    Raises:
        ConfigError: a student's name makes two stages of one name.
    """
    stages: list[AnyStage] = [
        Stage("data", DATA, settings.data),
        Stage("teacher", TRAIN, settings.teacher, {"data": "data"}),
    ]
    models = {"teacher": "teacher"}  # stage -> the name the settings know it by
    treated: list[str] = []
    controls: dict[str, str] = {}
    teacher = "teacher"
    for number in range(1, settings.rounds + 1):
        suffix = "" if number == 1 else f"-r{number}"
        if number > 1:
            stages.append(Stage(f"select{suffix}", SELECT, SelectSettings(), same_names(models)))
            teacher = f"select{suffix}"
        gan = settings.gan.model_copy(update={"seed_offset": settings.gan.seed_offset + number - 1})
        stages += [
            Stage(f"gan{suffix}", GAN, gan, {"data": "data"}),
            Stage(f"samples{suffix}", SAMPLE, settings.samples, {"gan": f"gan{suffix}", "data": "data"}),
            *_fidelity(settings, suffix),
            Stage(
                f"pseudo-labels{suffix}",
                PSEUDO_LABEL,
                settings.pseudo_labels,
                {"samples": f"samples{suffix}", "model": teacher},
                after=_required_before_labelling(settings, suffix),
            ),
        ]
        for name, student in settings.students.items():
            training = _resolved(student, settings.samples.num_images)
            inputs = {"data": "data", "synthetic": f"pseudo-labels{suffix}"}
            stages.append(Stage(f"{name}{suffix}", TRAIN, training, inputs))
            models[f"{name}{suffix}"] = name
            treated.append(f"{name}{suffix}")
            control = f"{name}-control"
            if settings.control.enabled:
                if number == 1:  # a control trains on no synthetic images, so no round changes it
                    without = training.model_copy(update={"synthetic_replaced": True})
                    stages.append(Stage(control, TRAIN, without, {"data": "data"}))
                controls[f"{name}{suffix}"] = control
    chosen = settings.ensemble.members
    members = same_names(stage for stage, name in models.items() if not chosen or name in chosen)
    stages.append(Stage("ensemble", ENSEMBLE, settings.ensemble, {"data": "data", **members}))
    if settings.control.enabled and settings.control.ensemble:
        replaced = same_names(controls.get(stage, stage) for stage in members)
        stages.append(Stage("ensemble-control", ENSEMBLE, settings.ensemble, {"data": "data", **replaced}))
        controls["ensemble"] = "ensemble-control"
    scored = same_names([*models, *controls.values(), "ensemble"])
    stages.append(Stage("evaluate", EVALUATE, settings.evaluate, {"data": "data", **scored}))
    roles = Roles(baseline="teacher", treated=tuple(treated), controls=controls, ensemble="ensemble")
    stages.append(report_stage(NAME, settings.report, settings, stages, roles))
    _check_names([stage.name for stage in stages])
    return Graph(stages)


def _fidelity(settings: SyntheticAugSettings, suffix: str) -> list[AnyStage]:
    """The stage that measures a round's GAN, always with the first teacher's features, so that rounds compare."""
    if not settings.fidelity.enabled:
        return []
    inputs = {"gan": f"gan{suffix}", "data": "data", "samples": f"samples{suffix}", "teacher": "teacher"}
    return [Stage(f"fidelity{suffix}", FIDELITY, settings.fidelity, inputs)]


def _required_before_labelling(settings: SyntheticAugSettings, suffix: str) -> tuple[str, ...]:
    """With a limit on copies, the stage that checks it, also where only a part of the pipeline runs."""
    limited = settings.fidelity.enabled and settings.fidelity.max_copy_share is not None
    return (f"fidelity{suffix}",) if limited else ()


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two stages would be called {twice[0]!r}; give the student another name "
            "(a control's ends in -control, a later round's in -r2, -r3, ...)"
        )


def _resolved(student: TrainSettings, num_images: int) -> TrainSettings:
    """The student with its number of synthetic images spelt out, so that its control has it too."""

    def resolve(phase: PhaseSettings) -> PhaseSettings:
        return phase.model_copy(update={"num_synthetic": min(phase.num_synthetic or num_images, num_images)})

    return student.model_copy(update={"phases": tuple(resolve(phase) for phase in student.phases)})


RECIPE = Recipe(
    NAME,
    "teacher, GAN, samples and their fidelity, pseudo-labels, students and controls, ensemble, evaluation, report",
    SyntheticAugSettings,
    build,
)
