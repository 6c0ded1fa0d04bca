"""Runs the steps one process after another and records each in `gpu.json`."""

import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from pipelines.gpu_bench.steps import ROOT, Figures, Request, SkippedError, Step
from segkit import __version__
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import read_json, write_json
from segkit.core.names import hint

FIGURES = "gpu.json"
DONE, FAILED, SKIPPED = "done", "failed", "skipped"
_GRACE_S = 30.0
"""Time for a command to exit after SIGTERM."""
_TAIL = 40
"""Lines of a failed command's log that the JSON keeps."""
_FACTS = """
import json, torch
has_gpu = torch.cuda.is_available()
facts = {"gpu": torch.cuda.get_device_name() if has_gpu else None, "torch": torch.__version__}
facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version() if has_gpu else None}
print(json.dumps(facts))
"""


def choose(available: list[Step], only: tuple[str, ...], skip: tuple[str, ...]) -> list[Step]:
    """The steps to run.

    Raises:
        RequestError: a name is unknown.
    """
    names = [step.name for step in available]
    unknown = next((name for name in (*only, *skip) if name not in names), None)
    if unknown is not None:
        raise RequestError(f"there is no step {unknown!r}; {hint(unknown, names)}")
    return [step for step in available if step.name not in skip and (not only or step.name in only)]


def run(chosen: list[Step], request: Request, facts: Figures) -> bool:
    """Run the steps and write a record of each into `gpu.json`; returns whether none failed.

    Raises:
        RequestError: only one of the file and this run is a rehearsal.
    """
    path = request.out / FIGURES
    book: Figures = read_json(path) if path.is_file() else {"rehearsal": request.rehearsal, "steps": {}}
    if book["rehearsal"] != request.rehearsal:
        raise RequestError(f"{path} is {'' if book['rehearsal'] else 'not '}of a rehearsal; choose another --out")
    request.work.mkdir(parents=True, exist_ok=True)
    states = []
    for number, step in enumerate(chosen, start=1):
        print(f"[{number}/{len(chosen)}] {step.name}: ", end="", flush=True)
        record = {"date": time.strftime("%F", time.gmtime()), "machine": facts} | run_step(step, request)
        states.append(record["state"])
        spent = f" in {record['seconds']:.0f} s" if "seconds" in record else ""
        print(f"{record['state']}{spent}" + (f" ({record['reason']})" if "reason" in record else ""), flush=True)
        # a skipped step does not replace an earlier measurement
        if record["state"] != SKIPPED or book["steps"].get(step.name, record)["state"] == SKIPPED:
            book["steps"][step.name] = record
            write_json(path, book)
    print(f"figures: {path}", flush=True)
    return FAILED not in states


def run_step(step: Step, request: Request) -> Figures:
    """Run a step's command within its time limit and read its figures."""
    try:
        arguments = step.arguments(request)
    except SkippedError as reason:
        return {"state": SKIPPED, "reason": str(reason)}
    log = request.out / "logs" / f"{step.name}.log"
    start = time.monotonic()
    code = launch([sys.executable, "-m", *arguments], log, step.limit_s)
    seconds = round(time.monotonic() - start, 1)
    record = {"seconds": seconds, "exit_code": code, "command": shown_command(arguments, request)}
    if code not in (0, None):
        problem = f"exit code {code}"
    elif code is None and not step.ends_at_limit:
        problem = f"stopped after {step.limit_s:.0f} s"
    else:
        try:
            return {"state": DONE, **record, "figures": step.figures(request)}
        except Exception as error:  # the next step runs even if this one wrote incomplete files
            problem = f"no figures: {type(error).__name__}: {error}"
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
    return {"state": FAILED, "reason": problem, **record, "log": tail}


def shown_command(arguments: list[str], request: Request) -> str:
    """The command without the paths of this machine."""
    line = shlex.join(["python", "-m", *arguments])
    places = {request.out: "OUT", request.drive: "DRIVE", ROOT: "."}
    for place, name in places.items():
        line = line if place is None else line.replace(str(place), name)
    return line


def launch(command: list[str], log: Path, limit_s: float) -> int | None:
    """Run a command in the checkout, its output in `log`; its exit code, or None if it was stopped at the limit."""
    log.parent.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # segkit may not be installed
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.terminate()  # segkit's commands then end their own processes
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            return None
        finally:
            with suppress(ProcessLookupError):  # remaining processes would keep the device's memory
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def machine() -> Figures:
    """GPU, driver, versions and commit; a separate process imports torch, so the device is free again.

    Raises:
        SegkitError: torch cannot be loaded.
    """
    answer = subprocess.run([sys.executable, "-c", _FACTS], capture_output=True, text=True)
    if answer.returncode:
        raise SegkitError(f"torch cannot be loaded: {(answer.stderr.splitlines() or ['no reason given'])[-1]}")
    driver = _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    commit = _first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*")
    versions = {"python": platform.python_version(), "segkit": __version__, "commit": commit}
    return {**json.loads(answer.stdout), "driver": driver, **versions}


def _first_line(*command: str) -> str | None:
    """The first line that a program prints, or None if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return None
    answer = subprocess.run(command, capture_output=True, text=True)
    return next(iter(answer.stdout.splitlines()), None) if answer.returncode == 0 else None
