"""Floating-point precision of the machine."""

from typing import Literal

import torch

from segkit.core.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def resolve_precision(
    requested: Literal["auto", "32-true", "bf16-mixed", "16-mixed"], accelerator: str = "auto"
) -> Precision:
    """The precision to compute in; `auto` is bf16 where the processor multiplies it in hardware, else fp32.

    Raises:
        ConfigError: fp16 is requested without a GPU.
    """
    if requested == "16-mixed" and (accelerator == "cpu" or not torch.cuda.is_available()):
        raise ConfigError("runtime.precision = '16-mixed' needs a GPU; use 'auto' or 'bf16-mixed'")
    if requested != "auto":
        return requested
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if cpu_has_bf16() else "32-true"


def cpu_has_bf16() -> bool:
    """Whether the CPU has bf16 dot products (AVX512-BF16 or AMX); without them bf16 is emulated and slow."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)
