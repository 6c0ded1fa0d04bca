"""Conduct a pipeline: find what is done, launch what is not, one stage after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.endings import Ending, how_it_ended
from pipelines.graph import Graph
from pipelines.launchers import launch_local
from pipelines.request import StageRequest, request_fingerprint, request_text, stage_command
from pipelines.store import BEGUN, WORK, Store, read_done, remove_work
from pipelines.verbs import VERBS
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import sha256_json, write_text
from segkit.tasks.settings import RuntimeSettings

Launch = Callable[[Sequence[str]], int]
Say = Callable[[str], None]


class StageFailedError(SegkitError):
    """A stage's process did not end well; it has said why, and this says how to go on."""


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
        return (self.folder / WORK / BEGUN).exists()

    @property
    def state(self) -> str:
        """`done`, `begun` or `missing`."""
        return "done" if self.done else "begun" if self.begun else "missing"


def plan(
    graph: Graph,
    runtime: RuntimeSettings,
    store: Store,
    recipe: str,
    upto: str | None = None,
    tags: tuple[str, ...] = (),
) -> list[Planned]:
    """The identity and the folders of every stage, or of one and what it needs; `tags` are the tracker's.

    Raises:
        RequestError: data or weights that the settings of these stages name are not there.
    """
    prints: dict[str, str] = {}
    planned = []
    for stage in graph if upto is None else graph.upto(upto):
        request = StageRequest(stage.name, stage.verb, stage.settings, runtime)
        prints[stage.name] = request_fingerprint(request, {key: prints[name] for key, name in stage.inputs.items()})
        folders = {key: store.folder(name, prints[name]).resolve() for key, name in stage.inputs.items()}
        folder = store.folder(stage.name, prints[stage.name]).resolve()
        planned.append(Planned(request, prints[stage.name], folder, folders))
    group = _group(graph, planned, recipe)
    return [replace(item, request=replace(item.request, group=group, tags=tags)) for item in planned]


def _group(graph: Graph, planned: Sequence[Planned], recipe: str) -> str:
    """What the tracker files the stages under: the same for a part of the pipeline as for the whole."""
    settings = {stage.name: VERBS[stage.verb].identity(stage.settings) for stage in graph}
    data = planned[0].fingerprint  # which holds the seed too
    return f"{recipe}-{sha256_json([settings, data])[:8]}"


def check(planned: Sequence[Planned], say: Say) -> None:
    """Refuse now what a stage that is still to run would refuse at its start, perhaps hours from now.

    Raises:
        RequestError: as the stage would.
    """
    waiting = [item.request for item in planned if not item.done]
    for request in waiting:
        _check_devices(request)
    found = [VERBS[request.verb].check(request.settings) for request in waiting]
    for each in {each.topic: each for each in found if each is not None}.values():
        say(f"checking {each.topic}")
        each.ask()


def _check_devices(request: StageRequest) -> None:
    if request.runtime.devices == "auto":
        return  # as many are taken as can share the work
    obstacle = VERBS[request.verb].obstacle(request.settings, request.runtime.devices * request.runtime.num_nodes)
    if obstacle:
        raise RequestError(f"{request.name}: {obstacle}")


def run(planned: Sequence[Planned], say: Say, launch: Launch = launch_local) -> list[str]:
    """Make every result that is not there yet, and return the names of the stages that ran.

    Raises:
        StageFailedError: a stage ended badly; the others' results stay.
    """
    launched = []
    for number, item in enumerate(planned, start=1):
        label = f"[{number}/{len(planned)}] {item.request.name}"
        if item.done:
            remove_work(item.folder)  # a kill may have come between the two
            say(f"{label}: done ({item.folder.name})")
            continue
        say(f"{label}: {'resuming' if item.begun else 'running'} ({item.folder.name})")
        start = time.monotonic()
        code = launch(_command(item))
        launched.append(item.request.name)
        if code != 0:
            raise _failure(item.request.name, code)
        if item.done is None:
            raise StageFailedError(f"stage {item.request.name} ended without a whole result in {item.folder}")
        say(f"{label}: finished in {time.monotonic() - start:.0f} s")
    return launched


def _command(item: Planned) -> list[str]:
    """Put the stage file where the stage will find it, and name the command."""
    path = item.folder.parent / ".requests" / f"{item.folder.name}.yaml"
    write_text(path, request_text(item.request, item.fingerprint))
    return stage_command(path, item.request, item.inputs, item.folder)


def _failure(name: str, status: int) -> StageFailedError:
    error = StageFailedError(f"stage {name} {how_it_ended(status)}")
    error.exit_code = RequestError.exit_code if status == Ending.REFUSED else SegkitError.exit_code
    return error
