"""The runner: plan the stages of a pipeline, skip those that are done, launch the others one after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pipelines.execution.display import Display, Log
from pipelines.execution.process import (
    GRACE_S,
    ExitCode,
    Launcher,
    check_num_nodes,
    exit_message,
    run_preflight,
    stage_command,
    stage_environment,
)
from pipelines.graph import Graph
from pipelines.stage import AnyStage, StageRecord, read_record
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import sha256_json, write_text
from segkit.core.run_folder import STARTED, WORK, input_fingerprint, remove_work
from segkit.tasks.settings import RuntimeSettings

T = TypeVar("T")
Launch = Callable[[Sequence[str]], int]


class StageFailedError(SegkitError):
    """The process of a stage failed. It has printed the cause; this message explains how to go on."""


@dataclass(frozen=True)
class Planned:
    """A stage with the fingerprint and folder of its result, and the folders that it reads."""

    stage: AnyStage
    fingerprint: str
    folder: Path
    inputs: Mapping[str, Path]

    @property
    def done(self) -> StageRecord | None:
        """The record of the finished result, if there is one."""
        return read_record(self.folder, self.fingerprint)

    @property
    def started(self) -> bool:
        """Whether an earlier run was interrupted."""
        return (self.folder / WORK / STARTED).exists()

    @property
    def state(self) -> str:
        """`done`, `started` or `missing`."""
        return "done" if self.done else "started" if self.started else "missing"


def plan(
    graph: Graph,
    runtime: RuntimeSettings,
    runs: Path,
    recipe: str,
    upto: str | None = None,
    tags: tuple[str, ...] = (),
) -> list[Planned]:
    """Every stage with its fingerprint and folders.

    With `upto` only this stage and the stages that it needs; `recipe` and `tags` are for the tracker.

    Raises:
        RequestError: data or weights that the settings of these stages name are missing or wrong.
    """
    fingerprints: dict[str, str] = {}
    planned: dict[str, Planned] = {}
    for stage in graph if upto is None else graph.upto(upto):
        own = runtime if stage.seed is None else runtime.model_copy(update={"seed": stage.seed})
        stage = replace(stage, runtime=own, tags=tags)
        fingerprint = stage.fingerprint({key: fingerprints[name] for key, name in stage.inputs.items()})
        fingerprints[stage.name] = fingerprint
        folder = _folder(runs, stage.name, fingerprint)
        inputs = {key: planned[name].folder for key, name in stage.inputs.items()}
        planned[stage.name] = Planned(stage, fingerprint, folder, inputs)
    group = _group(graph, next(iter(planned.values())).fingerprint, recipe)
    return [replace(item, stage=replace(item.stage, group=group)) for item in planned.values()]


def _folder(runs: Path, name: str, fingerprint: str) -> Path:
    """The stage's folder, or that of a finished stage of the same fingerprint under another name."""
    own = runs / f"{name}-{fingerprint[:12]}"
    if not own.exists():
        for other in sorted(runs.glob(f"*-{fingerprint[:12]}")):
            if read_record(other, fingerprint) is not None:
                return other.resolve()
    return own.resolve()


def _group(graph: Graph, data: str, recipe: str) -> str:
    """The tracker's group of a pipeline run; `upto` does not change it.

    `data` is the fingerprint of the first stage, which contains the seed of the run.
    """
    settings = {stage.name: stage.type.fingerprint_fields(stage.settings) for stage in graph}
    return f"{recipe}-{sha256_json([settings, data])[:8]}"


def check(planned: Sequence[Planned], log: Log) -> None:
    """Check the stages that are not done: numbers of devices and machines, and the preflight of each stage type.

    Raises:
        RequestError: a stage would fail at its start.
    """
    stages = [item.stage for item in planned if not item.done]
    for stage in stages:
        _check_device_count(stage)
        check_num_nodes(stage.runtime.num_nodes, stage_environment())
    preflights = dict.fromkeys(stage.type.preflight(stage.settings) for stage in stages)
    for preflight in preflights:
        if preflight is not None:
            log(f"checking {preflight.topic}")
            run_preflight(preflight)


def _check_device_count(stage: AnyStage) -> None:
    if stage.runtime.devices == "auto":
        return  # the stage uses as many devices as can share the work
    error = stage.type.device_count_error(stage.settings, stage.runtime.devices)
    if error:
        raise RequestError(f"{stage.name}: {error}")


def run(
    planned: Sequence[Planned],
    log: Log,
    launch: Launch | None = None,
    parallel: int = 1,
    expected: Callable[[], Mapping[str, float]] = dict,
) -> list[str]:
    """Run the stages that are not done, and return their names.

    Args:
        planned: in an order in which each stage comes after those it needs.
        log: of one line for each event, where there is no terminal.
        launch: runs a command and returns its exit status; by default a process on this machine.
        parallel: stages that run at the same time at most. Each starts when the stages it needs are done.
        expected: seconds that stages will take, by name, as far as they are known.

    Raises:
        StageFailedError: a stage failed; the results of the others are kept. No further stage is started, and those
            that run are completed first. With a stage that skips failed inputs, only stages that need the failed one
            are not started.
    """
    needs = {item.stage.name: {*item.stage.inputs.values(), *item.stage.after} for item in planned}
    with Display(needs, log, parallel, expected) as display:
        launcher = Launcher(parallel, planned[0].stage.runtime.devices, display)
        return _Execution(planned, display, launch or launcher, launcher.stop, parallel).run()


class _Failures:
    """The stages that failed, and those that cannot run because they need them."""

    def __init__(self, planned: Sequence[Planned], log: Log) -> None:
        self.log = log
        self.goes_on = any(item.stage.skips_failed_inputs for item in planned)
        self.errors: list[StageFailedError] = []
        self.missing: set[str] = set()
        """Names of these stages."""

    def add(self, item: Planned, error: StageFailedError) -> None:
        self.errors.append(error)
        self.missing.add(item.stage.name)

    def without_missing(self, item: Planned, label: str) -> Planned | None:
        """The stage without failed inputs; None if it cannot run."""
        needed = {*item.stage.inputs.values(), *item.stage.after}
        if not needed & self.missing:
            return item
        inputs = {key: name for key, name in item.stage.inputs.items() if name not in self.missing}
        if not item.stage.skips_failed_inputs or not inputs:
            self.missing.add(item.stage.name)
            self.log(f"{label}: skipped, because it needs {min(needed & self.missing)}")
            return None
        stage = replace(item.stage, inputs=inputs)
        folders = {key: item.inputs[key] for key in inputs}
        fingerprint = stage.fingerprint({key: input_fingerprint(folder) for key, folder in folders.items()})
        return Planned(stage, fingerprint, _folder(item.folder.parent, stage.name, fingerprint), folders)

    def raise_first(self) -> None:
        """Raise the error of the first stage that failed, if any."""
        if len(self.errors) > 1:
            self.log(f"{len(self.errors)} stages failed; the same command runs only what is missing")
        if self.errors:
            raise self.errors[0]


class _ThisThread(Executor):
    """Carries out a stage when it is submitted. An interrupt passes through."""

    def submit(self, function: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except StageFailedError as error:
            future.set_exception(error)
        return future


class _Execution:
    """Runs stages; several at a time have a thread each, which waits for the stage's process."""

    def __init__(
        self,
        planned: Sequence[Planned],
        display: Display,
        launch: Launch,
        stop: Callable[[float], None],
        parallel: int,
    ) -> None:
        self.display, self.launch, self.stop, self.parallel = display, launch, stop, parallel
        total = len(planned)
        self.waiting = {f"[{number}/{total}] {item.stage.name}": item for number, item in enumerate(planned, start=1)}
        self.running: dict[Future[None], tuple[str, Planned]] = {}
        self.unfinished = {item.stage.name for item in planned}
        self.launched: list[str] = []
        self.failures = _Failures(planned, display.print)

    def run(self) -> list[str]:
        """Run all stages, or those before the first failure, or those that need no failed one.

        Raises:
            StageFailedError: the first failure.
        """
        with ThreadPoolExecutor(self.parallel) if self.parallel > 1 else _ThisThread() as pool:
            try:
                while self._start_ready(pool) or self.running:
                    finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._end(future)
            except BaseException as error:  # a signal; the pool would wait for the stages
                # A terminal sends an interrupt to the stages too; `kill` does not.
                self.stop(GRACE_S if isinstance(error, KeyboardInterrupt) else 0)
                raise
        self.failures.raise_first()
        return self.launched

    def _start_ready(self, pool: Executor) -> bool:
        """Start the stages that can start; whether any did."""
        before = len(self.running)
        for label, item in list(self.waiting.items()):
            if (self.failures.errors and not self.failures.goes_on) or len(self.running) == self.parallel:
                break
            if not self._is_ready(item):
                continue
            del self.waiting[label]
            ready = self.failures.without_missing(item, label)
            if ready is None or ready.done:
                self._pass_over(label, item.stage.name, ready)
                continue
            self.display.print(f"{label}: {'resuming' if ready.started else 'running'} ({ready.folder.name})")
            self.launched.append(item.stage.name)
            self.display.start(item.stage.name)
            self.running[pool.submit(self._run_stage, ready)] = label, ready
        return len(self.running) > before

    def _is_ready(self, item: Planned) -> bool:
        needed = {*item.stage.inputs.values(), *item.stage.after}
        return not needed & self.unfinished and item.folder not in {other.folder for _, other in self.running.values()}

    def _pass_over(self, label: str, name: str, done: Planned | None) -> None:
        self.unfinished.remove(name)
        self.display.end(name, "done before" if done else "skipped")
        if done:
            remove_work(done.folder)  # in case of a kill after `done.json` was written
            self.display.print(f"{label}: done ({done.folder.name})")

    def _run_stage(self, item: Planned) -> None:
        status = self.launch(_command(item))
        if status != 0:
            raise _failure(item.stage.name, status)
        if item.done is None:
            raise StageFailedError(
                f"stage {item.stage.name} exited with 0 but left no complete result in {item.folder}"
            )

    def _end(self, future: "Future[None]") -> None:
        label, item = self.running.pop(future)
        name = item.stage.name
        try:
            future.result()
        except StageFailedError as error:
            self.display.end(name, "failed")
            self.failures.add(item, error)
            others = ", ".join(other.stage.name for _, other in self.running.values())
            if self.failures.goes_on:
                self.unfinished.remove(name)
            if others or self.failures.goes_on:  # otherwise the error ends the run at once
                self.display.print(f"{error}" + (f"; waiting for {others}" if others else ""))
        else:
            self.unfinished.remove(name)
            self.display.end(name, "finished")
            seconds = time.monotonic() - self.display.started[name]
            self.display.print(f"{label}: finished in {seconds:.0f} s{self.display.time_left}")


def _command(item: Planned) -> list[str]:
    """Write the stage file and return the command that runs the stage."""
    path = item.folder.parent / ".requests" / f"{item.folder.name}.yaml"
    write_text(path, item.stage.to_yaml(item.fingerprint))
    return stage_command(path, item.stage.name, item.inputs, item.folder)


def _failure(name: str, status: int) -> StageFailedError:
    error = StageFailedError(f"stage {name} {exit_message(status)}")
    error.exit_code = RequestError.exit_code if status == ExitCode.INVALID_REQUEST else SegkitError.exit_code
    return error
