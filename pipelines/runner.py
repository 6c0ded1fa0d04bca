"""Conduct a pipeline: find what is done, launch what is not, one stage after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.graph import Graph
from pipelines.launchers import launch_local
from pipelines.request import StageRequest, request_fingerprint, request_text, stage_command
from pipelines.store import WORK, Store, read_done
from segkit.core.errors import SegkitError
from segkit.core.files import write_text
from segkit.tasks.settings import RuntimeSettings

Launch = Callable[[Sequence[str]], int]
Say = Callable[[str], None]


class StageFailedError(SegkitError):
    """A stage's process did not end well; it has said why."""


@dataclass(frozen=True)
class Planned:
    """A stage with its identity and its folders."""

    request: StageRequest
    fingerprint: str
    folder: Path
    inputs: Mapping[str, Path]

    @property
    def done(self) -> dict[str, Any] | None:
        """The record of the finished result, if there is one."""
        record = read_done(self.folder)
        return record if record is not None and record["fingerprint"] == self.fingerprint else None

    @property
    def begun(self) -> bool:
        """Whether a run of it was cut short."""
        return (self.folder / WORK).is_dir()

    @property
    def state(self) -> str:
        """`done`, `begun` or `missing`."""
        return "done" if self.done else "begun" if self.begun else "missing"


def plan(graph: Graph, runtime: RuntimeSettings, store: Store, recipe: str) -> list[Planned]:
    """Every stage's identity and folders.

    Raises:
        RequestError: data or weights that the settings name are not there.
    """
    prints: dict[str, str] = {}
    planned = []
    for stage in graph:
        request = StageRequest(stage.name, stage.verb, stage.settings, runtime)
        prints[stage.name] = request_fingerprint(request, {key: prints[name] for key, name in stage.inputs.items()})
        folders = {key: store.folder(name, prints[name]).resolve() for key, name in stage.inputs.items()}
        folder = store.folder(stage.name, prints[stage.name]).resolve()
        planned.append(Planned(request, prints[stage.name], folder, folders))
    group = f"{recipe}-{planned[-1].fingerprint[:8]}"
    return [Planned(_with_group(item.request, group), item.fingerprint, item.folder, item.inputs) for item in planned]


def _with_group(request: StageRequest, group: str) -> StageRequest:
    return StageRequest(request.name, request.verb, request.settings, request.runtime, group)


def run(planned: Sequence[Planned], say: Say, launch: Launch = launch_local) -> None:
    """Make every result that is not there yet.

    Raises:
        StageFailedError: a stage ended badly; the others' results stay, and the same command goes on from here.
    """
    for number, item in enumerate(planned, start=1):
        label = f"[{number}/{len(planned)}] {item.request.name}"
        if item.done:
            say(f"{label}: done ({item.folder.name})")
            continue
        say(f"{label}: {'resuming' if item.begun else 'running'} ({item.folder.name})")
        start = time.monotonic()
        code = launch(_command(item))
        if code != 0:
            error = StageFailedError(
                f"stage {item.request.name} {_ending(code)}; run the same command to go on from here"
            )
            error.exit_code = 2 if code == 2 else 1
            raise error
        if item.done is None:
            raise StageFailedError(f"stage {item.request.name} ended without a whole result in {item.folder}")
        say(f"{label}: finished in {time.monotonic() - start:.0f} s")


def _command(item: Planned) -> list[str]:
    """Put the stage file where the stage will find it, and name the command."""
    path = item.folder.parent / ".requests" / f"{item.folder.name}.yaml"
    write_text(path, request_text(item.request))
    return stage_command(path, item.request, item.inputs, item.folder)


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
