"""The processes of the other ranks, which Lightning's launchers start in the first one."""

import time
from subprocess import Popen
from weakref import WeakSet

_launchers: WeakSet[object] = WeakSet()
_PATIENCE_S = 1.0


def register(launcher: object) -> None:
    """Remember a launcher; it lists the processes it has started as `procs`."""
    _launchers.add(launcher)


def end_all() -> None:
    """Kill the rank processes that this process has started, after an error in it.

    They get a second to exit. On GPUs they would otherwise wait for half an hour and keep their devices; Lightning
    stops them only after an interrupt.
    """
    processes: list[Popen[bytes]] = [process for launcher in _launchers for process in getattr(launcher, "procs", ())]
    deadline = time.monotonic() + _PATIENCE_S
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
