"""Deterministic computation: the same inputs give the same bytes on one kind of device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from segkit.core.errors import RequestError


def move_to(module: nn.Module, device: str | torch.device) -> None:
    """Move a module to a device.

    Raises:
        RequestError: there is no such device.
    """
    try:
        module.to(device)
    except (AssertionError, RuntimeError) as error:  # of a torch without CUDA, and of an unknown name
        raise RequestError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error


@contextmanager
def deterministic(device: torch.device, max_threads: int = 1) -> Iterator[None]:
    """Compute on at most `max_threads` CPU threads, or with `deterministic_kernels` on a GPU.

    PyTorch's kernels and the last bits depend on the number of threads.
    """
    with _limited_threads(device, max_threads), deterministic_kernels(device):
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
def _limited_threads(device: torch.device, max_threads: int) -> Iterator[None]:
    """Limit PyTorch's CPU threads; no effect on other devices than CPUs."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(min(max_threads, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
