"""Processes of stages: how one is started and ended, its exit codes, and the message shown for each."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path

from pipelines.stage import Preflight
from segkit.core.errors import RequestError, SegkitError

UNDER_RUNNER = "SEGKIT_UNDER_RUNNER"
"""Set in the environment of a stage that the runner starts: the runner then prints how to go on."""

GRACE_S = 1.0
"""How long an interrupted stage may take to end by itself."""
PATIENCE_S = 5.0
"""How long a stage may take to end after a signal; then it is killed, which does no result any harm."""

_PYTHON = (sys.executable, "-P")  # -P: import nothing from the working folder

_RANK_VARIABLES = {
    *("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK"),
    # a batch script of SLURM has these without being one of several ranks, and Lightning would start none
    *("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
}
"""Where torchrun, Lightning and SLURM store the rank of a process."""


class ExitCode(IntEnum):
    """Exit codes of a stage under the runner; a stage that a user starts exits with 1 instead of 3 and 4."""

    FAILED = 1
    """A bug, or an unknown cause."""
    INVALID_REQUEST = 2
    """Settings, data or paths are wrong."""
    ENVIRONMENT = 3
    """The machine or its files are the cause: a full disk, too little memory."""
    RESULT_REJECTED = 4
    """The result cannot be used, or a limit in the settings forbids it."""


_HOW_TO_GO_ON = {
    ExitCode.FAILED: "failed (see above); run the same command to try again from there",
    ExitCode.INVALID_REQUEST: "got an invalid request (see above); correct it and rerun, finished stages are reused",
    ExitCode.ENVIRONMENT: "failed (see above); remove the cause, then run the same command to go on from there",
    ExitCode.RESULT_REJECTED: "stopped the run (see above); change the settings and rerun, finished stages are reused",
}


def exit_message(status: int) -> str:
    """How a stage with this exit status ended, and how to go on; the status is negative for a signal."""
    number = status - 128 if status in {130, 143} else -status  # `segkit` exits so after SIGINT and SIGTERM
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
    """The command line that carries out the stage of a stage file; a user can type it too."""
    folders = [part for key, folder in inputs.items() for part in ("--input", f"{key}={folder}")]
    return [*_PYTHON, "-m", "segkit", "stage", name, "-c", str(path), *folders, "--out", str(out)]


def run_preflight(preflight: Preflight) -> None:
    """Make a check that needs torch in another process.

    Raises:
        RequestError: the check failed; the message is the module's.
        SegkitError: the module itself failed.
    """
    command = [*_PYTHON, "-m", preflight.module]
    ended = subprocess.run(command, input=preflight.request, capture_output=True, text=True)
    message = ended.stderr.strip()
    if ended.returncode == RequestError.exit_code:
        raise RequestError(message)
    if ended.returncode != 0:
        last = message.splitlines()[-1] if message else f"exit status {ended.returncode}"
        raise SegkitError(f"cannot check {preflight.topic}: {last}")


def launch_local(command: Sequence[str]) -> int:
    """Run the command with our standard output and error; its exit status, negative for the signal that ended it.

    At SIGINT and SIGTERM the stage is ended first.
    """
    process = subprocess.Popen(command, env=_environment(), stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal sends the stage the same signal; `kill -INT` of this process alone does not.
        _terminate(process, GRACE_S)
        raise
    except BaseException:
        _terminate(process, 0)
        raise


def _terminate(process: subprocess.Popen[bytes], grace_s: float) -> None:
    # Lightning ends all ranks at an interrupt; at SIGTERM they may wait for each other. Where interrupts are ignored,
    # as in a script's background, the stage ignores them too.
    gentle = signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT
    try:
        if not _ends_within(process, grace_s):
            process.send_signal(gentle)
            if not _ends_within(process, PATIENCE_S):
                process.kill()
    except BaseException:  # Ctrl-C once more
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


def _environment() -> dict[str, str]:
    """Our environment without our rank, since each stage starts its own group of processes."""
    return {key: value for key, value in os.environ.items() if key not in _RANK_VARIABLES} | {UNDER_RUNNER: "1"}
