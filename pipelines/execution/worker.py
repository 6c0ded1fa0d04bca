"""The worker: start or resume one stage in this process, run its type's code, and write the record of the result."""

import importlib
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from pipelines.execution.process import UNDER_RUNNER, check_num_nodes, is_first_rank
from pipelines.stage import AnyStage, S, Stage, StageRecord, read_record
from segkit.core.errors import RequestError
from segkit.core.files import read_json, write_json
from segkit.core.run_folder import (
    WORK,
    describe_outputs,
    input_fingerprint,
    lock_stage,
    prepare,
    remove_work,
    write_done,
)
from segkit.core.versions import git_commit, installed_versions
from segkit.tasks.settings import RuntimeSettings

if TYPE_CHECKING:
    from segkit.tasks.precision import Precision
    from segkit.tasks.tracking import Tracker


@dataclass(frozen=True)
class Context(Generic[S]):
    """Passed to a stage's code: the stage, its input folders, its output folder, and its tracker."""

    stage: Stage[S]
    inputs: Mapping[str, Path]
    """Folders of finished stages, by input name of the stage type."""
    out: Path
    fingerprint: str
    first_rank: bool

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name

    @property
    def settings(self) -> S:
        """The stage's settings."""
        return self.stage.settings

    @property
    def runtime(self) -> RuntimeSettings:
        """Where and how to compute."""
        return self.stage.runtime

    @property
    def work(self) -> Path:
        """Scratch folder that is kept after a kill and removed when the stage is done."""
        return self.out / WORK

    @cached_property
    def precision(self) -> "Precision":
        """The precision of training: that of the interrupted run of this stage, otherwise that of the runtime."""
        from segkit.tasks.precision import resolve_precision

        path = self.work / "precision.json"
        if path.exists():
            recorded: Precision = read_json(path)
            return recorded
        precision = resolve_precision(self.runtime.precision, self.runtime.accelerator)
        if self.first_rank:
            write_json(path, precision)
        return precision

    @property
    def precision_used(self) -> str | None:
        """The precision of training; None if the stage has trained nothing."""
        return self.__dict__.get("precision")

    @cached_property
    def tracker(self) -> "Tracker":
        """Opened when first used."""
        from segkit.tasks.tracking import open_tracker
        from segkit.tasks.wandb_runs import RunLabel

        config = {
            "settings": self.settings.model_dump(mode="json"),
            "runtime": self.runtime.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
        }
        name, fingerprint = self.name, self.fingerprint
        label = RunLabel(
            f"{name}-{fingerprint[:12]}", f"{name} {fingerprint[:4]}", name, self.stage.group, self.stage.tags
        )
        return open_tracker(self.runtime, self.out, label, config)


def execute(stage: AnyStage, inputs: Mapping[str, Path], out: Path, planned: str | None = None) -> None:
    """Write the stage's result into `out`, or resume a killed run. A finished result is kept.

    Under DDP every rank calls this with the same stage; only the first rank writes records.

    Args:
        planned: the fingerprint for which the runner reserved `out`; None if no runner did.

    Raises:
        RequestError: an input is missing or unknown, other machines would never join, `out` belongs to another
            request, or the runner planned another result, because segkit or the data were changed since.
    """
    start = _start_of_process()
    _check_inputs(stage, inputs)
    check_num_nodes(stage.runtime.num_nodes, os.environ)
    fingerprint = stage.fingerprint({name: input_fingerprint(folder) for name, folder in inputs.items()})
    if planned not in {None, fingerprint}:
        raise RequestError(
            f"segkit, the data or an input of {stage.name} changed after this run was planned; nothing was computed, "
            "run the same command again"
        )
    run = importlib.import_module(stage.type.module).run
    context = Context(stage, inputs, out, fingerprint, is_first_rank())
    if not context.first_rank:
        if read_record(out, fingerprint) is None:
            run(context)
        return
    asked = time.monotonic()
    with lock_stage(out, on_wait=lambda text: print(text, flush=True)):
        start += time.monotonic() - asked
        if read_record(out, fingerprint) is not None:
            print(f"{out} is done already", flush=True)
            remove_work(out)
            return
        prepare(out, stage.to_yaml(fingerprint), fingerprint)
        run(context)
        record = _record(context, start)
        _track(context, record)
        write_done(out, record)
        remove_work(out)


def _start_of_process() -> float:
    """When the runner started this process, whose imports take seconds; now if no runner did."""
    return float(os.environ.get(UNDER_RUNNER, time.monotonic()))


def _check_inputs(stage: AnyStage, inputs: Mapping[str, Path]) -> None:
    expected = f"stage {stage.name} reads {', '.join(sorted(stage.inputs)) or 'nothing'}"
    if missing := stage.inputs.keys() - inputs.keys():
        raise RequestError(f"{expected}; give --input {min(missing)}=DIR")
    if unknown := inputs.keys() - stage.inputs.keys():
        raise RequestError(f"{expected}, not {min(unknown)}")


def _track(context: Context[S], record: StageRecord) -> None:
    """Log the result and its inputs to the tracker."""
    sources = [read_record(folder) or StageRecord() for folder in context.inputs.values()]
    used = [f"{done['stage']}:{done['fingerprint']}" for done in sources if "stage" in done]
    context.tracker.output(context.name, context.stage.type.name, context.out, record, used)
    context.tracker.close()


def _record(context: Context[S], start: float) -> StageRecord:
    stage, out = context.stage, context.out
    record: StageRecord = {
        "stage": stage.name,
        "type": stage.type.name,
        "version": stage.type.version,
        "fingerprint": context.fingerprint,
        "settings": stage.settings.model_dump(mode="json"),
        "runtime": stage.runtime.model_dump(mode="json"),
        "precision": context.precision_used,
        "contents": stage.type.external_digests(stage.settings),
        "inputs": {
            name: {"folder": os.path.relpath(path, out), "fingerprint": input_fingerprint(path)}
            for name, path in context.inputs.items()
        },
        "outputs": describe_outputs(out),
        "git_commit": git_commit(),
        "wandb_run": context.tracker.run_id,
        "versions": installed_versions(),
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count(), "devices": stage.runtime.devices},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    record["seconds"] = round(time.monotonic() - start, 1)  # last, because digests and versions take time too
    return record
