"""Tune glibc's malloc to keep freed blocks, since page faults cost more than the operations on them."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt


def keep_freed_memory() -> bool:
    """Keep large freed blocks in the process until it ends; returns whether the C library supports it (glibc does).

    By default it returns blocks of 32 MB and more to the system, which hands them out again page by page and zeroed: 30
    ms for 67 MB of activations, where adding two such tensors takes 5. The process keeps its peak memory.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
