"""The recipe `synthetic-aug`: does training on GAN-made, pseudo-labelled fundi beat training on the real ones alone?"""

from typing import Any

from pipelines.graph import Graph, Stage
from pipelines.settings import SyntheticAugSettings
from pipelines.verbs import ReportRequest, SelectSettings
from segkit.tasks.settings import PhaseSettings, TrainSettings

NAME = "synthetic-aug"
SETTINGS = SyntheticAugSettings
SUMMARY = "teacher, GAN, samples, pseudo-labels, students and their controls, ensemble, evaluation, report"


def build(settings: SyntheticAugSettings) -> Graph:
    """The stages these settings ask for; the first round's have plain names, later ones end in `-r2`, `-r3`, ..."""
    stages = [
        Stage("data", "data", settings.data),
        Stage("teacher", "train", settings.teacher, {"data": "data"}),
    ]
    models = {"teacher": "teacher"}
    pairs: list[tuple[str, str]] = []
    teacher = "teacher"
    for number in range(1, settings.rounds + 1):
        suffix = "" if number == 1 else f"-r{number}"
        if number > 1:
            stages.append(Stage(f"select{suffix}", "select", SelectSettings(), dict(models)))
            teacher = f"select{suffix}"
        gan = settings.gan.model_copy(update={"seed_offset": settings.gan.seed_offset + number - 1})
        stages += [
            Stage(f"gan{suffix}", "gan", gan, {"data": "data"}),
            Stage(f"samples{suffix}", "sample", settings.samples, {"gan": f"gan{suffix}", "data": "data"}),
            Stage(
                f"pseudo-labels{suffix}",
                "pseudo-label",
                settings.pseudo_labels,
                {"samples": f"samples{suffix}", "model": teacher},
            ),
        ]
        for name, student in settings.students.items():
            training = _resolved(student, settings.samples.num_images)
            inputs = {"data": "data", "synthetic": f"pseudo-labels{suffix}"}
            stages.append(Stage(f"{name}{suffix}", "train", training, inputs))
            models[f"{name}{suffix}"] = f"{name}{suffix}"
            control = f"{name}-control"
            if settings.control.enabled:
                if number == 1:  # a control sees no synthetic images, so no round changes it
                    without = training.model_copy(update={"synthetic_replaced": True})
                    stages.append(Stage(control, "train", without, {"data": "data"}))
                pairs.append((f"{name}{suffix}", control))
    members = _members(settings, models)
    stages.append(Stage("ensemble", "ensemble", settings.ensemble, {"data": "data", **members}))
    scored = {**models, **{control: control for _, control in pairs}, "ensemble": "ensemble"}
    stages.append(Stage("evaluate", "evaluate", settings.evaluate, {"data": "data", **scored}))
    stages.append(_report(settings, stages, scored, pairs))
    return Graph(stages)


def _resolved(student: TrainSettings, num_images: int) -> TrainSettings:
    """The student with its number of synthetic images spelt out, so that its control knows it too."""

    def resolve(phase: PhaseSettings) -> PhaseSettings:
        return phase.model_copy(update={"num_synthetic": min(phase.num_synthetic or num_images, num_images)})

    return student.model_copy(update={"phases": tuple(resolve(phase) for phase in student.phases)})


def _members(settings: SyntheticAugSettings, models: dict[str, str]) -> dict[str, str]:
    """The ensemble's members: those named, in every round, or all models."""
    named = settings.ensemble.members
    if not named:
        return dict(models)
    return {name: stage for name, stage in models.items() if name.rsplit("-r", 1)[0] in named or name in named}


def _report(
    settings: SyntheticAugSettings, stages: list[Stage], scored: dict[str, str], pairs: list[tuple[str, str]]
) -> Stage:
    resolved: dict[str, Any] = settings.model_dump(mode="json")
    resolved["runtime"] = settings.runtime.identity()
    resolved["data"].pop("source")
    request = ReportRequest(
        report=settings.report,
        pipeline=resolved,
        graph=[{"name": stage.name, "verb": stage.verb, "inputs": dict(stage.inputs)} for stage in stages],
        pairs=pairs,
    )
    gans = {stage.name: stage.name for stage in stages if stage.verb in {"gan", "sample", "pseudo-label"}}
    return Stage("report", "report", request, {"data": "data", "evaluate": "evaluate", **gans, **scored})
