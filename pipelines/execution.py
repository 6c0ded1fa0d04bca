"""Carry out one stage in this process: begin or resume, run the verb, declare the result whole."""

import importlib
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.context import Context, Inputs
from pipelines.request import StageRequest, request_fingerprint, request_text
from pipelines.store import begin, describe_outputs, held, input_fingerprint, read_done, remove_work, write_done
from pipelines.verbs import VERBS
from segkit.core.versions import git_commit, installed_versions


def execute(request: StageRequest, inputs: Mapping[str, Path], out: Path) -> None:
    """Make the stage's result in `out`, or go on where a killed run of it stopped; nothing if it is there.

    Under DDP every rank comes here with the same request; only the first one keeps the books.

    Raises:
        RequestError: an input is missing, or `out` belongs to another request.
    """
    identity = request_fingerprint(request, {name: input_fingerprint(folder) for name, folder in inputs.items()})
    run = importlib.import_module(VERBS[request.verb].module).run
    context = Context(request, Inputs(inputs), out, identity, is_first_rank())
    if not context.first_rank:
        if not _is_done(out, identity):
            run(context)
        return
    with held(out, say=lambda text: print(text, flush=True)):
        if _is_done(out, identity):
            print(f"{out} is done already", flush=True)
            remove_work(out)
            return
        begin(out, request_text(request, identity), identity)
        start = time.monotonic()
        run(context)
        record = _record(context, time.monotonic() - start)
        _track(context, record)
        write_done(out, record)
        remove_work(out)


def _is_done(out: Path, identity: str) -> bool:
    done = read_done(out)
    return done is not None and done["fingerprint"] == identity


def _track(context: Context, record: Mapping[str, Any]) -> None:
    """Give the tracker the result and what it was made from."""
    made_from = [read_done(folder) or {} for folder in context.inputs.values()]
    used = [f"{done['stage']}:{done['fingerprint']}" for done in made_from if "stage" in done]
    context.tracker.output(context.request.name, context.request.verb, context.out, record, used)
    context.tracker.close()


def is_first_rank() -> bool:
    """Whether this process is rank 0 of all, by the variables torchrun, Lightning and SLURM set.

    In an interactive job of SLURM Lightning starts the ranks, all of which then have the shell's SLURM_PROCID too.
    """
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _record(context: Context, seconds: float) -> dict[str, Any]:
    request, out = context.request, context.out
    return {
        "stage": request.name,
        "verb": request.verb,
        "version": VERBS[request.verb].version,
        "fingerprint": context.fingerprint,
        "settings": request.settings.model_dump(mode="json"),
        "runtime": request.runtime.model_dump(mode="json"),
        "precision": context.precision_used,
        "contents": VERBS[request.verb].contents(request.settings),
        "inputs": {
            name: {"folder": os.path.relpath(path, out), "fingerprint": input_fingerprint(path)}
            for name, path in context.inputs.items()
        },
        "outputs": describe_outputs(out),
        "git_commit": git_commit(),
        "wandb_run": context.tracker.run_id,
        "versions": installed_versions(),
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count(), "devices": request.runtime.devices},
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
