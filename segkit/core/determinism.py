"""Deterministic computation: the same inputs give the same bytes on one kind of device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Compute on one CPU thread, or with `deterministic_kernels` on a GPU."""
    with _one_thread(device), deterministic_kernels(device):
        yield


@contextmanager
def deterministic_kernels(device: torch.device) -> Iterator[None]:
    """Use deterministic cuDNN kernels and disable TF32 inside the block; no effect on other devices than GPUs."""
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
    """Limit PyTorch to one CPU thread, since its kernels and the last bits depend on the number of threads.

    No effect on other devices than CPUs.
    """
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
