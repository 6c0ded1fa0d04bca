"""How a stage's command is started: here as a local process."""

import os
import signal
import subprocess
from collections.abc import Sequence

from pipelines.endings import CONDUCTED

GRACE_S = 1.0
"""How long an interrupted stage may take to end by itself."""
PATIENCE_S = 5.0
"""How long a stage that was told to end may take; after that it is killed, which no result minds."""

_RANKS = {
    *("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK"),
    # a batch script of SLURM has these without being one of several ranks, and Lightning would start none
    *("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
}
"""By what torchrun, Lightning and SLURM tell a process its place among the others."""


def launch_local(command: Sequence[str]) -> int:
    """Run the command, its output going where ours goes; its exit status, negative for the signal that ended it.

    Interrupted or told to end, it ends the stage before it ends itself.
    """
    process = subprocess.Popen(command, env=_environment(), stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal sends the stage the same signal; `kill -INT` of this process alone does not.
        _see_off(process, GRACE_S)
        raise
    except BaseException:
        _see_off(process, 0)
        raise


def _see_off(process: subprocess.Popen[bytes], grace_s: float) -> None:
    # Lightning ends all ranks at an interrupt; at SIGTERM they may wait for each other. Where interrupts are ignored,
    # as in a script's background, the stage ignores them too.
    gently = signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT
    try:
        if not _ended(process, grace_s):
            process.send_signal(gently)
            if not _ended(process, PATIENCE_S):
                process.kill()
    except BaseException:  # somebody presses Ctrl-C once more
        process.kill()
        raise
    finally:
        process.wait()


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _environment() -> dict[str, str]:
    """Ours without a rank of its own, as each stage starts its own group of processes."""
    return {key: value for key, value in os.environ.items() if key not in _RANKS} | {CONDUCTED: "1"}
