"""Exponential moving average of the generator."""

import torch
from torch import nn


def ema_decay(batch_size: int, ema_kimg: float, num_images_seen: int, ema_rampup: float | None) -> float:
    """Decay of one iteration for a half-life of `ema_kimg` thousand images.

    Args:
        num_images_seen: before this iteration; with `ema_rampup` the half-life is at most that share of it.
    """
    half_life = ema_kimg * 1000
    if ema_rampup is not None:
        half_life = min(half_life, num_images_seen * ema_rampup)
    return float(0.5 ** (batch_size / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay average + (1 - decay) network; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    buffers = list(average.buffers())
    if buffers:
        torch._foreach_copy_(buffers, list(network.buffers()))
