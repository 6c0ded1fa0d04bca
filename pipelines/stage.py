"""A stage: its type, its settings and inputs, its file, its fingerprint, and the record of its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypedDict, TypeVar, cast

import yaml
from pydantic import Field

from segkit.core.config import Settings, read_yaml, validate
from segkit.core.errors import ConfigError
from segkit.core.files import sha256_json
from segkit.core.run_folder import read_done
from segkit.tasks.settings import RuntimeSettings

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Preflight:
    """A check before any stage starts. It has a process of its own, because the runner loads no torch."""

    topic: str
    """For a message, for example "that weights.pkl fits the GAN's settings"."""
    module: str
    """Run as `python -m module`. It exits with 0, or prints an error and exits with the error's exit code."""
    request: str
    """What the module reads on its standard input."""


@dataclass(frozen=True)
class StageType(Generic[S]):
    """A kind of work that stages do."""

    name: str
    settings: type[S]
    module: str
    """Its function `run(context)` does the work. Only the worker imports it."""
    version: int = 1
    """Raise it when the code gives another result for the same settings."""
    not_fingerprinted: frozenset[str] = frozenset()
    """Settings that cannot change the result, such as paths and how the work is split."""
    external_digests: Callable[[S], dict[str, str]] = lambda settings: {}
    """Digests of the files outside the runs folder that the settings name."""
    preflight: Callable[[S], Preflight | None] = lambda settings: None
    """What to check before any stage starts, or None."""
    device_count_error: Callable[[S, int], str | None] = lambda settings, num_devices: None
    """Why the work cannot be split over this many devices, or None."""

    def fingerprint_fields(self, settings: S) -> dict[str, object]:
        """The settings that can change the result, as JSON."""
        return settings.model_dump(mode="json", exclude=set(self.not_fingerprinted))


@dataclass(frozen=True)
class Stage(Generic[S]):
    """A request: a stage type, its settings, the stages that it reads, and where to compute."""

    name: str
    type: StageType[S]
    settings: S
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Names of the stages that it reads, by input name of the stage type."""
    after: tuple[str, ...] = ()
    """Stages that must have finished before, but are not read, so they do not change the result."""
    seed: int | None = None
    """Seed of this stage in place of the runtime's."""
    skips_failed_inputs: bool = False
    """If stages that it reads fail, it reads the others. Stages that need none of the failed ones run as well."""
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    group: str | None = None
    """The pipeline run it belongs to, for the tracker."""
    tags: tuple[str, ...] = ()
    """For filtering in the tracker."""

    def fingerprint(self, inputs: Mapping[str, str]) -> str:
        """Identity of the result: sha256 over everything that can change it, which the stage's name cannot.

        Args:
            inputs: fingerprints of the stages it reads, by input name.

        Raises:
            RequestError: a file or data set that the settings name is missing or wrong.
        """
        settings = self.type.fingerprint_fields(self.settings)
        digests = self.type.external_digests(self.settings)
        return sha256_json(
            [self.type.name, self.type.version, settings, self.runtime.identity(), digests, dict(inputs)]
        )

    def to_yaml(self, fingerprint: str) -> str:
        """The content of the stage file that `segkit stage` reads; the fingerprint identifies the result's folder."""
        content = {
            "fingerprint": fingerprint,
            "stage": self.name,
            "type": self.type.name,
            "version": self.type.version,
            "inputs": dict(self.inputs),
            "group": self.group,
            "tags": list(self.tags),
            "settings": self.settings.model_dump(mode="json"),
            "runtime": self.runtime.model_dump(mode="json"),
        }
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


AnyStageType: TypeAlias = StageType[Any]
AnyStage: TypeAlias = Stage[Any]
"""A stage of any type."""


class StageRecord(TypedDict, total=False):
    """The record of a finished stage, as in its `done.json`."""

    stage: str
    type: str
    version: int
    fingerprint: str
    settings: dict[str, Any]
    runtime: dict[str, Any]
    precision: str | None
    contents: dict[str, str]
    """External digests by name."""
    inputs: dict[str, dict[str, str]]
    outputs: dict[str, dict[str, object]]
    """sha256 and bytes of each file, by path inside the stage's folder."""
    git_commit: str | None
    wandb_run: str | None
    versions: dict[str, str]
    """Of Python and the libraries, by name."""
    machine: dict[str, str | int | None]
    seconds: float
    """Of the process that finished the stage, its start included, without waiting for another one's lock."""
    finished: str
    """Date and time."""


def read_record(folder: Path, fingerprint: str | None = None) -> StageRecord | None:
    """The record of a finished stage; None if the folder holds none, another one, or a file of the result is missing.

    Without `fingerprint` any result is read.
    """
    record = cast(StageRecord | None, read_done(folder))
    return record if record is None or fingerprint in (None, record["fingerprint"]) else None


class _StageFile(Settings):
    """The keys of a stage file; `settings` are those of its type."""

    stage: str
    type: str
    version: int | None = None
    fingerprint: str | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    group: str | None = None
    tags: tuple[str, ...] = ()
    settings: dict[str, object] = Field(default_factory=dict)
    runtime: RuntimeSettings = RuntimeSettings()


def read_stage(path: Path, types: Mapping[str, AnyStageType]) -> AnyStage:
    """Read a stage file.

    Raises:
        ConfigError: it is not one, or a setting in it is wrong.
    """
    file = validate(_StageFile, read_yaml(path), str(path))
    if file.type not in types:
        raise ConfigError(f"{path}: type = {file.type!r}; expected one of {', '.join(types)}")
    stage_type = types[file.type]
    settings = validate(stage_type.settings, file.settings, f"{path}, settings")
    return Stage(file.stage, stage_type, settings, file.inputs, runtime=file.runtime, group=file.group, tags=file.tags)
