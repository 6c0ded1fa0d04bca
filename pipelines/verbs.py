"""What a stage can do: each verb's settings, version and code, and what identifies its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gan.sharing import obstacle as gan_obstacle
from pipelines import first_weights
from pipelines.settings import (
    EnsembleSettings,
    EvaluateSettings,
    FidelitySettings,
    GanStageSettings,
    PseudoLabelSettings,
    ReportSettings,
    SampleSettings,
)
from segkit.core.config import Settings
from segkit.core.errors import RequestError
from segkit.core.files import sha256_file
from segkit.data.settings import DataSettings
from segkit.tasks.settings import TrainSettings


class SelectSettings(Settings):
    """The best of several models by validation Dice."""


class ReportRequest(Settings):
    """What the report says about the pipeline besides its inputs."""

    report: ReportSettings
    pipeline: dict[str, Any]
    """The resolved settings of the whole pipeline, for the record."""
    graph: list[dict[str, Any]]
    """The stages: name, verb and inputs."""
    pairs: list[tuple[str, str]]
    """(student, control) whose difference gives the verdict."""


Contents = Callable[[Any], dict[str, str]]


def _no_contents(settings: Settings) -> dict[str, str]:
    return {}


def _data_contents(settings: DataSettings) -> dict[str, str]:
    if settings.source == "phantom":
        return {}
    if settings.source is None:
        raise RequestError("no data set given; say --data NAME:DIR, for example --data drive:/data/DRIVE")
    from segkit.data.readers import open_dataset

    dataset = open_dataset(settings.source, settings.group_pattern)
    settings.cut(dataset.training_groups)  # fails now rather than in the stage
    return {"data": dataset.digest}


_NVIDIA_WEIGHTS = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/"


def _gan_contents(settings: GanStageSettings) -> dict[str, str]:
    if settings.init_from is None:
        return {}
    path = Path(settings.init_from).expanduser()
    if path.is_dir():
        return {f"init_from/{file.name}": sha256_file(file) for file in sorted(path.iterdir()) if file.is_file()}
    if not path.is_file():
        raise RequestError(
            f"gan.init_from = {path} does not exist; train from scratch with --set gan.init_from=null, or download "
            f"ffhq-res512-mirror-stylegan2-noaug.pkl from {_NVIDIA_WEIGHTS}"
        )
    return {"init_from": sha256_file(path)}


class Check(NamedTuple):
    """A question whose answer can end a stage at its start, and which is asked before any stage starts."""

    topic: str
    """What is checked; checks of the same topic are the same."""
    ask: Callable[[], None]
    """Raises what the stage would raise."""


def _no_check(settings: Settings) -> Check | None:
    return None


def _gan_check(settings: GanStageSettings) -> Check | None:
    if settings.init_from is None:
        return None
    return Check(
        f"that {settings.init_from} fits the GAN's settings", partial(first_weights.check, settings.gan_settings)
    )


def _no_obstacle(settings: Settings, num_devices: int) -> str | None:
    return None


def _train_obstacle(settings: TrainSettings, num_devices: int) -> str | None:
    for number, phase in enumerate(settings.phases):
        if phase.batch_size % num_devices:
            batch = f"phases.{number}.batch_size = {phase.batch_size}"
            return f"{batch} cannot be shared evenly by {num_devices} devices (runtime.devices)"
    return None


@dataclass(frozen=True)
class Verb:
    """One kind of work."""

    module: str
    settings: type[Settings]
    version: int = 1
    """Raise it when the code gives another result for the same settings."""
    contents: Contents = _no_contents
    """Digests of what the settings name outside the store; stands in for the paths themselves."""
    paths: frozenset[str] = field(default_factory=frozenset)
    """Settings that say where something lies or how the work is cut; they do not change the result."""
    check: Callable[[Any], Check | None] = _no_check
    """What else the stage would refuse at its start."""
    obstacle: Callable[[Any, int], str | None] = _no_obstacle
    """What keeps so many devices from sharing its work; None if nothing does."""

    def identity(self, settings: Settings) -> dict[str, Any]:
        """The settings that can change the result."""
        return settings.model_dump(mode="json", exclude=set(self.paths))


VERBS: Mapping[str, Verb] = {
    "data": Verb(
        "pipelines.stages.data", DataSettings, version=3, contents=_data_contents, paths=frozenset({"source"})
    ),
    "train": Verb("pipelines.stages.train", TrainSettings, version=3, obstacle=_train_obstacle),
    "gan": Verb(
        "pipelines.stages.gan",
        GanStageSettings,
        version=4,
        contents=_gan_contents,
        paths=frozenset({"init_from", "checkpoint_kimg", "images_per_pass"}),
        check=_gan_check,
        obstacle=gan_obstacle,
    ),
    "sample": Verb("pipelines.stages.sample", SampleSettings, version=2),
    "fidelity": Verb("pipelines.stages.fidelity", FidelitySettings, version=2),
    "pseudo-label": Verb("pipelines.stages.pseudo_label", PseudoLabelSettings, version=2),
    "select": Verb("pipelines.stages.select", SelectSettings),
    "ensemble": Verb("pipelines.stages.ensemble", EnsembleSettings, version=2),
    "evaluate": Verb("pipelines.stages.evaluate", EvaluateSettings, version=3),
    "report": Verb("pipelines.stages.report", ReportRequest),
}
