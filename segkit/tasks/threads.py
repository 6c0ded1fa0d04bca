"""How many CPU threads a computation gets, where its bytes must not depend on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Keep PyTorch to one CPU thread: its kernels, and with them the last bits, depend on the number of threads.

    Elsewhere than on a CPU nothing changes.
    """
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
