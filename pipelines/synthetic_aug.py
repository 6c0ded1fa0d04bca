"""The recipe `synthetic-aug`: does training on GAN-made, pseudo-labelled fundi beat training on the real ones alone?"""

from collections.abc import Iterable
from typing import Any

from pipelines.graph import Graph, Stage
from pipelines.roles import Roles
from pipelines.settings import SyntheticAugSettings
from pipelines.verbs import ReportRequest, SelectSettings
from segkit.core.errors import ConfigError
from segkit.tasks.settings import PhaseSettings, TrainSettings

NAME = "synthetic-aug"
SETTINGS = SyntheticAugSettings
SUMMARY = (
    "teacher, GAN, samples and their fidelity, pseudo-labels, students and their controls, ensemble, evaluation, report"
)


def build(settings: SyntheticAugSettings) -> Graph:
    """The stages these settings ask for; the first round's have plain names, later ones end in `-r2`, `-r3`, ...

    Raises:
        ConfigError: a student's name makes two stages of one name.
    """
    stages = [
        Stage("data", "data", settings.data),
        Stage("teacher", "train", settings.teacher, {"data": "data"}),
    ]
    models = {"teacher": "teacher"}  # stage -> the name the settings know it by
    pairs: list[tuple[str, str]] = []
    teacher = "teacher"
    for number in range(1, settings.rounds + 1):
        suffix = "" if number == 1 else f"-r{number}"
        if number > 1:
            stages.append(Stage(f"select{suffix}", "select", SelectSettings(), _each(models)))
            teacher = f"select{suffix}"
        gan = settings.gan.model_copy(update={"seed_offset": settings.gan.seed_offset + number - 1})
        stages += [
            Stage(f"gan{suffix}", "gan", gan, {"data": "data"}),
            Stage(f"samples{suffix}", "sample", settings.samples, {"gan": f"gan{suffix}", "data": "data"}),
            *_fidelity(settings, suffix),
            Stage(
                f"pseudo-labels{suffix}",
                "pseudo-label",
                settings.pseudo_labels,
                {"samples": f"samples{suffix}", "model": teacher},
                after=_gates(settings, suffix),
            ),
        ]
        for name, student in settings.students.items():
            training = _resolved(student, settings.samples.num_images)
            inputs = {"data": "data", "synthetic": f"pseudo-labels{suffix}"}
            stages.append(Stage(f"{name}{suffix}", "train", training, inputs))
            models[f"{name}{suffix}"] = name
            control = f"{name}-control"
            if settings.control.enabled:
                if number == 1:  # a control sees no synthetic images, so no round changes it
                    without = training.model_copy(update={"synthetic_replaced": True})
                    stages.append(Stage(control, "train", without, {"data": "data"}))
                pairs.append((f"{name}{suffix}", control))
    named = settings.ensemble.members
    members = _each(stage for stage, name in models.items() if not named or name in named)
    stages.append(Stage("ensemble", "ensemble", settings.ensemble, {"data": "data", **members}))
    scored = _each([*models, *(control for _, control in pairs), "ensemble"])
    stages.append(Stage("evaluate", "evaluate", settings.evaluate, {"data": "data", **scored}))
    treated = tuple(stage for stage in models if stage != "teacher")
    roles = Roles(baseline="teacher", treated=treated, controls=dict(pairs), ensemble="ensemble")
    stages.append(_report(settings, stages, scored, roles))
    _check_names([stage.name for stage in stages])
    return Graph(stages)


def _fidelity(settings: SyntheticAugSettings, suffix: str) -> list[Stage]:
    """The measuring of a round's GAN, always through the first teacher, so that rounds compare."""
    if not settings.fidelity.enabled:
        return []
    inputs = {"gan": f"gan{suffix}", "data": "data", "samples": f"samples{suffix}", "teacher": "teacher"}
    return [Stage(f"fidelity{suffix}", "fidelity", settings.fidelity, inputs)]


def _gates(settings: SyntheticAugSettings, suffix: str) -> tuple[str, ...]:
    """What must pass before samples are labelled; with a limit on copies even a part of the pipeline goes by it."""
    gated = settings.fidelity.enabled and settings.fidelity.max_copy_share is not None
    return (f"fidelity{suffix}",) if gated else ()


def _each(stages: Iterable[str]) -> dict[str, str]:
    """Inputs that are known by the names of the stages that make them."""
    return {stage: stage for stage in stages}


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two stages would be called {twice[0]!r}; give the student another name "
            "(a control's ends in -control, a later round's in -r2, -r3, ...)"
        )


def _resolved(student: TrainSettings, num_images: int) -> TrainSettings:
    """The student with its number of synthetic images spelt out, so that its control knows it too."""

    def resolve(phase: PhaseSettings) -> PhaseSettings:
        return phase.model_copy(update={"num_synthetic": min(phase.num_synthetic or num_images, num_images)})

    return student.model_copy(update={"phases": tuple(resolve(phase) for phase in student.phases)})


def _report(settings: SyntheticAugSettings, stages: list[Stage], scored: dict[str, str], roles: Roles) -> Stage:
    resolved: dict[str, Any] = settings.model_dump(mode="json")
    resolved["runtime"] = settings.runtime.identity()
    resolved["data"].pop("source")
    request = ReportRequest(
        report=settings.report,
        pipeline=resolved,
        graph=[{"name": stage.name, "verb": stage.verb, "inputs": dict(stage.inputs)} for stage in stages],
        roles=roles,
    )
    gans = {stage.name: stage.name for stage in stages if stage.verb in {"gan", "sample", "fidelity", "pseudo-label"}}
    return Stage("report", "report", request, {"data": "data", "evaluate": "evaluate", **gans, **scored})
