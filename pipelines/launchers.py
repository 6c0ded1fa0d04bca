"""How a stage's command is started: here as a local process."""

import os
import signal
import subprocess
from collections.abc import Sequence


def launch_local(command: Sequence[str]) -> int:
    """Run the command, its output going where ours goes; its exit status, negative for the signal that ended it."""
    process = subprocess.Popen(command, env=_clean_environment())
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal has sent the stage the same signal; let it end in its own time.
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def _clean_environment() -> dict[str, str]:
    """Our environment without a rank of its own: each stage starts its own group of processes."""
    ranks = {"RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK"}
    return {key: value for key, value in os.environ.items() if key not in ranks}
