"""Computation whose bytes depend on nothing but its inputs, on one kind of device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """One CPU thread, or what `repeatable_on_gpu` does, wherever the computation is."""
    with _one_thread(device), repeatable_on_gpu(device):
        yield


@contextmanager
def repeatable_on_gpu(device: torch.device) -> Iterator[None]:
    """Keep cuDNN's kernels from adding in an order of chance, and fp32 from being rounded to TF32, where whoever calls
    allows that.

    Elsewhere than on a GPU nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
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
