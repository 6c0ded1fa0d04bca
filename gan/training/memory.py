"""Memory that a process keeps for itself: asking the system for it again costs more than what is computed in it."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt


def keep_freed_memory() -> bool:
    """Let the C library keep large blocks that are freed, for the rest of the process; whether it can (glibc can).

    By default it returns blocks of 32 MB and more to the system, which hands them out again page by page and zeroed: 30
    ms for 67 MB of activations, where adding two such tensors takes 5. The process keeps what it used at most.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
