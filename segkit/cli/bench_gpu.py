"""`segkit bench gpu`: tests, timings and trainings on a machine with a CUDA device; all figures in one JSON file."""

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

import click

from segkit import __version__
from segkit.cli.gpu_steps import ROOT, Figures, Request, SkippedError, Step, steps
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import read_json, write_json
from segkit.core.outputs import check_folder

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


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/gpu"), show_default=True, help="Folder.")
@click.option("--drive", type=click.Path(path_type=Path), help="DRIVE folder; without it no GAN is trained on DRIVE.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    show_default=True,
    help="Training time of the GAN on DRIVE; another run continues the training.",
)
@click.option("--only", multiple=True, metavar="STEP", help="Run these steps only; may be given several times.")
@click.option("--skip", multiple=True, metavar="STEP", help="Leave these steps out; may be given several times.")
@click.option("--rehearse", is_flag=True, help="Run all steps with tiny sizes, on phantoms and any device.")
def gpu(
    out: Path, drive: Path | None, minutes: float, only: tuple[str, ...], skip: tuple[str, ...], rehearse: bool
) -> None:
    """Run tests, timings and trainings on a CUDA device, one process after another.

    The figures of all runs are collected in OUT/gpu.json; pictures are beside it, logs in OUT/logs. A failed step is
    recorded and the next one runs.
    """
    if drive is not None and not drive.is_dir():
        raise RequestError(f"--drive {drive} is no folder; name the one that holds DRIVE's `training` and `test`")
    check_folder(out, "--out")
    request = Request(out.resolve(), drive and drive.resolve(), minutes, rehearse)
    chosen = choose(steps(request), only, skip)
    facts = machine()
    if facts["gpu"] is None and not rehearse:
        raise RequestError(
            f"torch {facts['torch']} finds no CUDA device; run on a machine with a GPU, or give --rehearse"
        )
    if not run(chosen, request, facts):
        raise SegkitError(f"some steps failed; see {request.out / FIGURES} and {request.out / 'logs'}")


def choose(available: list[Step], only: tuple[str, ...], skip: tuple[str, ...]) -> list[Step]:
    """The steps to run.

    Raises:
        RequestError: a name is unknown.
    """
    names = [step.name for step in available]
    unknown = next((name for name in (*only, *skip) if name not in names), None)
    if unknown is not None:
        raise RequestError(f"there is no step {unknown!r}; there are {', '.join(names)}")
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
        click.echo(f"[{number}/{len(chosen)}] {step.name}: ", nl=False)
        record = {"date": time.strftime("%F", time.gmtime()), "machine": facts} | run_step(step, request)
        states.append(record["state"])
        spent = f" in {record['seconds']:.0f} s" if "seconds" in record else ""
        click.echo(f"{record['state']}{spent}" + (f" ({record['reason']})" if "reason" in record else ""))
        # a skipped step does not replace an earlier measurement
        if record["state"] != SKIPPED or book["steps"].get(step.name, record)["state"] == SKIPPED:
            book["steps"][step.name] = record
            write_json(path, book)
    click.echo(f"figures: {path}")
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
