"""The process of a stage: start, termination, exit codes, and the message for each."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from pipelines.execution.display import Display
from pipelines.stage import Preflight
from segkit.core.errors import RequestError, SegkitError
from segkit.core.progress import MARK, RELAY, relayed
from segkit.tasks.wandb_runs import SWEEP_VARIABLES

UNDER_RUNNER = "SEGKIT_UNDER_RUNNER"
"""Environment variable of a stage that the runner starts: when it did, by `time.monotonic`, which all processes of a
machine share. The runner then prints how to go on, and the record's seconds count from there."""

GRACE_S = 1.0
"""Seconds that an interrupted stage has to exit by itself."""
PATIENCE_S = 5.0
"""Seconds that a stage has to exit after a signal before it is killed. A kill damages no result."""

_PYTHON = (sys.executable, "-P")  # -P: do not import from the working folder

_RANK_VARIABLES = {
    *("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK"),
    # a SLURM batch script has these although it is no rank, and Lightning would then start no ranks
    *("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
}
"""Variables in which torchrun, Lightning and SLURM store the rank of a process."""


def is_first_rank() -> bool:
    """Whether this process is rank 0, according to the variables that torchrun, Lightning and SLURM set.

    In an interactive SLURM job, Lightning starts the ranks, and all of them inherit SLURM_PROCID from the shell.
    """
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


class ExitCode(IntEnum):
    """Exit codes of a stage under the runner. A stage that a user starts exits with 1 instead of 3 and 4."""

    FAILED = 1
    """A bug or an unknown cause."""
    INVALID_REQUEST = 2
    """Settings, data or paths are wrong."""
    ENVIRONMENT = 3
    """A problem of the machine, such as a full disk or too little memory."""
    RESULT_REJECTED = 4
    """The result cannot be used, or a limit in the settings forbids it."""


_HOW_TO_GO_ON = {
    ExitCode.FAILED: "failed (see above); run the same command to try again from there",
    ExitCode.INVALID_REQUEST: "got an invalid request (see above); correct it and rerun, finished stages are reused",
    ExitCode.ENVIRONMENT: "failed (see above); remove the cause, then run the same command to go on from there",
    ExitCode.RESULT_REJECTED: "stopped the run (see above); change the settings and rerun, finished stages are reused",
}


def exit_message(status: int) -> str:
    """How a stage with this exit status ended, and how to go on. The status is negative after a signal."""
    number = status - 128 if status in {130, 143} else -status  # exit codes of `segkit` after SIGINT and SIGTERM
    if number > 0:
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"was ended by {_signal_name(number)}{hint}; run the same command to go on from there"
    return _HOW_TO_GO_ON[ExitCode(status) if status in set(ExitCode) else ExitCode.FAILED]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def stage_command(path: Path, name: str, inputs: Mapping[str, Path], out: Path) -> list[str]:
    """The command line that runs the stage of a stage file; users can type it too."""
    folders = [part for key, folder in inputs.items() for part in ("--input", f"{key}={folder}")]
    return [*_PYTHON, "-m", "segkit", "stage", name, "-c", str(path), *folders, "--out", str(out)]


def check_num_nodes(num_nodes: int, environment: Mapping[str, str]) -> None:
    """Raise RequestError if a stage would wait for machines that never join.

    Args:
        environment: of the stage's process. torchrun, SLURM and Lightning describe the machines in it.
    """
    joined = {"RANK", "NODE_RANK"} & environment.keys() or int(environment.get("SLURM_NTASKS", "1")) > 1
    if num_nodes > 1 and not joined:
        raise RequestError(
            f"runtime.num_nodes = {num_nodes}: `segkit pipeline run` starts stages on this machine only, and no other "
            "would ever join; set runtime.num_nodes=1, which changes no result. To train one stage on several "
            "machines, start `segkit stage` by torchrun on each of them, as in docs/clusters.md"
        )


def stage_environment() -> dict[str, str]:
    """Our environment without our rank, because each stage starts its own group of processes.

    Without the W&B run of a sweep too: it is the pipeline's, and W&B would write the stages into it.
    """
    left_out = (*_RANK_VARIABLES, *SWEEP_VARIABLES)
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    return kept | {UNDER_RUNNER: str(time.monotonic())}


def run_preflight(preflight: Preflight) -> None:
    """Run a check that needs torch in another process.

    Raises:
        RequestError: the check failed; the message is the module's.
        SegkitError: the module crashed.
    """
    command = [*_PYTHON, "-m", preflight.module]
    ended = subprocess.run(command, input=preflight.request, capture_output=True, text=True)
    message = ended.stderr.strip()
    if ended.returncode == RequestError.exit_code:
        raise RequestError(message)
    if ended.returncode != 0:
        last = message.splitlines()[-1] if message else f"exit status {ended.returncode}"
        raise SegkitError(f"cannot check {preflight.topic}: {last}")


class Launcher:
    """Runs up to `slots` commands at a time, each with its share of the GPUs and cores.

    A command's output goes where ours goes, with the stage's name before each line if there are several slots. Where
    `display` redraws a terminal, it gets the output and the progress of all commands.

    Args:
        devices: GPUs of a stage, or `auto` for an equal share. With fewer GPUs than needed, stages share them.
    """

    def __init__(self, slots: int, devices: int | Literal["auto"], display: Display) -> None:
        gpus = visible_gpus() if slots > 1 else []
        size = max(1, len(gpus) // slots) if devices == "auto" else devices
        self._environments: SimpleQueue[dict[str, str]] = SimpleQueue()
        for slot in range(slots):
            self._environments.put(_share(gpus, slot, size, slots) if slots > 1 else {})
        self._prefixed, self._display = slots > 1, display
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, command: Sequence[str]) -> int:
        """Run a command in a free slot and return its exit status, negative after a signal."""
        share = self._environments.get()
        piped = self._prefixed or self._display.live
        process = subprocess.Popen(
            command,
            env=stage_environment() | share | ({RELAY: "1"} if self._display.live else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else None,
            stderr=subprocess.STDOUT if piped else None,
        )
        self._processes.add(process)
        if self._stopped:  # between the interrupt and this line
            process.kill()
        if process.stdout is not None:
            self._forward(process.stdout, command)
            process.stdout.close()
        status = process.wait()
        self._processes.discard(process)  # after an interrupt `stop` needs it
        self._environments.put(share)
        return status

    def _forward(self, output: Iterable[bytes], command: Sequence[str]) -> None:
        name = command[command.index("stage") + 1] if "stage" in command else command[0]
        for line in output:
            text = line.decode(errors="replace").rstrip()
            if text.startswith(MARK):
                with suppress(ValueError, TypeError):  # another rank has written into the line
                    self._display.show(name, relayed(text))
            else:
                self._display.print(f"{name} | {text}" if self._prefixed else text)

    def stop(self, grace_s: float) -> None:
        """Terminate the commands that run, after `grace_s` seconds in which they may end by themselves."""
        self._stopped = True
        for process in list(self._processes):
            _terminate(process, grace_s)


def visible_gpus() -> list[str]:
    """The GPUs that a process started here can use, as CUDA_VISIBLE_DEVICES names them; found without torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(number) for number, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def _share(gpus: Sequence[str], slot: int, size: int, slots: int) -> dict[str, str]:
    """The variables that give a slot its part of the GPUs and cores."""
    threads = max(1, len(os.sched_getaffinity(0)) // slots) if hasattr(os, "sched_getaffinity") else 1
    share = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    if gpus:
        chosen = [gpus[(slot * size + number) % len(gpus)] for number in range(min(size, len(gpus)))]
        share["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    return share


def _terminate(process: subprocess.Popen[bytes], grace_s: float) -> None:
    # Lightning stops all ranks at an interrupt; at SIGTERM they may wait for each other. A process that ignores
    # interrupts, such as one in the background of a script, has stages that ignore them too.
    gentle = signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT
    try:
        if not _ends_within(process, grace_s):
            process.send_signal(gentle)
            if not _ends_within(process, PATIENCE_S):
                process.kill()
    except BaseException:  # a second Ctrl-C
        process.kill()
        raise
    finally:
        process.wait()


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
