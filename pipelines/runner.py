"""The runner: plan the stages of a pipeline, skip those that are done, launch the others one after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.graph import Graph
from pipelines.process import ExitCode, SideBySideLauncher, exit_message, launch_local, run_preflight, stage_command
from pipelines.stage import AnyStage, StageRecord, read_record
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import sha256_json, write_text
from segkit.core.run_folder import STARTED, WORK, input_fingerprint, remove_work
from segkit.tasks.settings import RuntimeSettings

Launch = Callable[[Sequence[str]], int]
Log = Callable[[str], None]


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
        record = read_record(self.folder)
        return record if record is not None and record["fingerprint"] == self.fingerprint else None

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

    Args:
        graph: the pipeline.
        runtime: where to compute.
        runs: the folder of all results.
        recipe: its name, for the tracker.
        upto: plan only this stage and the stages that it needs.
        tags: for the tracker.

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
            if (read_record(other) or StageRecord()).get("fingerprint") == fingerprint:
                return other.resolve()
    return own.resolve()


def _group(graph: Graph, data: str, recipe: str) -> str:
    """The tracker's group of a pipeline run; `upto` does not change it.

    Args:
        graph: the complete pipeline.
        data: fingerprint of the first stage, which contains the seed of the run.
        recipe: its name.
    """
    settings = {stage.name: stage.type.fingerprint_fields(stage.settings) for stage in graph}
    return f"{recipe}-{sha256_json([settings, data])[:8]}"


def check(planned: Sequence[Planned], log: Log) -> None:
    """Check the stages that are not done: numbers of devices, and the preflight of each stage type.

    Raises:
        RequestError: a stage would fail at its start.
    """
    stages = [item.stage for item in planned if not item.done]
    for stage in stages:
        _check_device_count(stage)
    preflights = dict.fromkeys(stage.type.preflight(stage.settings) for stage in stages)
    for preflight in preflights:
        if preflight is not None:
            log(f"checking {preflight.topic}")
            run_preflight(preflight)


def _check_device_count(stage: AnyStage) -> None:
    if stage.runtime.devices == "auto":
        return  # the stage uses as many devices as can share the work
    error = stage.type.device_count_error(stage.settings, stage.runtime.devices * stage.runtime.num_nodes)
    if error:
        raise RequestError(f"{stage.name}: {error}")


def run(planned: Sequence[Planned], log: Log, launch: Launch | None = None, parallel: int = 1) -> list[str]:
    """Run the stages that are not done, and return their names.

    Args:
        planned: in an order in which each stage comes after those it needs.
        log: of one line for each event.
        launch: runs a command and returns its exit status; by default a process on this machine.
        parallel: stages that run at the same time at most. Each starts when the stages it needs are done.

    Raises:
        StageFailedError: a stage failed; the results of the others are kept. No further stage is started, and those
            that run are completed first. With a stage that skips failed inputs, only stages that need the failed one
            are not started.
    """
    if parallel == 1:
        return _run_in_order(planned, log, launch or launch_local)
    launcher = SideBySideLauncher(parallel, planned[0].stage.runtime.devices)
    return _SideBySide(planned, log, launch or launcher, launcher.stop, parallel).run()


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


def _run_in_order(planned: Sequence[Planned], log: Log, launch: Launch) -> list[str]:
    launched, failures = [], _Failures(planned, log)
    for number, item in enumerate(planned, start=1):
        label = f"[{number}/{len(planned)}] {item.stage.name}"
        ready = failures.without_missing(item, label)
        if ready is None or _skip(ready, label, log):
            continue
        launched.append(item.stage.name)
        try:
            _run_stage(ready, label, log, launch)
        except StageFailedError as error:
            if not failures.goes_on:
                raise
            log(str(error))
            failures.add(item, error)
    failures.raise_first()
    return launched


def _skip(item: Planned, label: str, log: Log) -> bool:
    """Whether the stage is done, or else write to the log that it starts."""
    if item.done:
        remove_work(item.folder)  # in case of a kill after `done.json` was written
        log(f"{label}: done ({item.folder.name})")
        return True
    log(f"{label}: {'resuming' if item.started else 'running'} ({item.folder.name})")
    return False


def _run_stage(item: Planned, label: str, log: Log, launch: Launch) -> None:
    name, start = item.stage.name, time.monotonic()
    status = launch(_command(item))
    if status != 0:
        raise _failure(name, status)
    if item.done is None:
        raise StageFailedError(f"stage {name} exited with 0 but left no complete result in {item.folder}")
    log(f"{label}: finished in {time.monotonic() - start:.0f} s")


class _SideBySide:
    """Several stages at a time, each in a thread that waits for its process."""

    def __init__(
        self, planned: Sequence[Planned], log: Log, launch: Launch, stop: Callable[[], None], parallel: int
    ) -> None:
        self.log, self.launch, self.stop, self.parallel = log, launch, stop, parallel
        total = len(planned)
        self.waiting = {f"[{number}/{total}] {item.stage.name}": item for number, item in enumerate(planned, start=1)}
        self.running: dict[Future[None], Planned] = {}
        self.unfinished = {item.stage.name for item in planned}
        self.launched: list[str] = []
        self.failures = _Failures(planned, log)

    def run(self) -> list[str]:
        """Run all stages, or those before the first failure, or those that need no failed one.

        Raises:
            StageFailedError: the first failure.
        """
        with ThreadPoolExecutor(self.parallel) as pool:
            try:
                while self._start_ready(pool) or self.running:
                    finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._end(future)
            except BaseException:  # an interrupt; the pool would wait for the stages
                self.stop()
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
            if ready is None or _skip(ready, label, self.log):
                self.unfinished.remove(item.stage.name)
                continue
            self.launched.append(item.stage.name)
            self.running[pool.submit(_run_stage, ready, label, self.log, self.launch)] = ready
        return len(self.running) > before

    def _is_ready(self, item: Planned) -> bool:
        needed = {*item.stage.inputs.values(), *item.stage.after}
        return not needed & self.unfinished and item.folder not in {other.folder for other in self.running.values()}

    def _end(self, future: "Future[None]") -> None:
        item = self.running.pop(future)
        try:
            future.result()
        except StageFailedError as error:
            self.failures.add(item, error)
            if self.failures.goes_on:
                self.unfinished.remove(item.stage.name)
            others = ", ".join(other.stage.name for other in self.running.values())
            self.log(f"{error}" + (f"; waiting for {others}" if others else ""))
        else:
            self.unfinished.remove(item.stage.name)


def _command(item: Planned) -> list[str]:
    """Write the stage file and return the command that runs the stage."""
    path = item.folder.parent / ".requests" / f"{item.folder.name}.yaml"
    write_text(path, item.stage.to_yaml(item.fingerprint))
    return stage_command(path, item.stage.name, item.inputs, item.folder)


def _failure(name: str, status: int) -> StageFailedError:
    error = StageFailedError(f"stage {name} {exit_message(status)}")
    error.exit_code = RequestError.exit_code if status == ExitCode.INVALID_REQUEST else SegkitError.exit_code
    return error
