"""A stage's request: what it is asked to do, as a file, as a command line, and as the identity of its result."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from pipelines.graph import fingerprint
from pipelines.verbs import VERBS
from segkit.core.config import Settings, read_yaml, validate
from segkit.core.errors import ConfigError
from segkit.tasks.settings import RuntimeSettings


@dataclass(frozen=True)
class StageRequest:
    """A stage as its own process gets it: everything but the folders."""

    name: str
    verb: str
    settings: Settings
    runtime: RuntimeSettings
    group: str | None = None
    """The pipeline run it belongs to, for the tracker."""
    tags: tuple[str, ...] = ()
    """What the tracker can filter by."""


class _StageFile(Settings):
    """The keys of a stage file."""

    stage: str
    verb: str
    fingerprint: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    runtime: RuntimeSettings = RuntimeSettings()


def request_text(request: StageRequest, fingerprint: str) -> str:
    """The stage file `segkit stage` reads; the fingerprint is there for the reader and for the folder it lies in."""
    content = {
        "fingerprint": fingerprint,
        "stage": request.name,
        "verb": request.verb,
        "group": request.group,
        "tags": list(request.tags),
        "settings": request.settings.model_dump(mode="json"),
        "runtime": request.runtime.model_dump(mode="json"),
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def read_request(path: Path) -> StageRequest:
    """Read a stage file.

    Raises:
        ConfigError: it is not one, or a setting in it is wrong.
    """
    found = validate(_StageFile, read_yaml(path), str(path))
    if found.verb not in VERBS:
        raise ConfigError(f"{path}: verb = {found.verb!r}; a stage file names one of {', '.join(VERBS)}")
    settings = validate(VERBS[found.verb].settings, found.settings, f"{path}, settings")
    return StageRequest(found.stage, found.verb, settings, found.runtime, found.group, found.tags)


def request_fingerprint(request: StageRequest, inputs: Mapping[str, str]) -> str:
    """Identity of the result this request asks for, given its inputs' fingerprints."""
    verb = VERBS[request.verb]
    return fingerprint(
        request.name,
        verb.version,
        verb.identity(request.settings),
        request.runtime.identity(),
        verb.contents(request.settings),
        inputs,
    )


def stage_command(request_path: Path, request: StageRequest, inputs: Mapping[str, Path], out: Path) -> list[str]:
    """The command line that carries out a stage; a user could type it."""
    given = [part for name, folder in inputs.items() for part in ("--input", f"{name}={folder}")]
    program = [sys.executable, "-P", "-m", "segkit"]  # -P: import nothing from the working folder
    return [*program, "stage", request.name, "-c", str(request_path), *given, "--out", str(out)]
